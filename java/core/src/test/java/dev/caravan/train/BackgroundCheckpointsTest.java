package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.checkpoint.Checkpoints;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints that are written while training goes on. */
class BackgroundCheckpointsTest {
  private static final String BACKGROUND = "checkpoint.background=true";
  private static final String OFTEN = "checkpoint.every_steps=2";

  @TempDir Path folder;

  private TinyRun runs;

  @BeforeEach
  void setUp() {
    Blas.install();
    runs = new TinyRun(folder, Device.CPU);
  }

  /** What is put around what a rank writes. */
  private interface Around {
    UnaryOperator<Runnable> of(int rank);
  }

  /** Trains on all ranks; {@code listener} is the first one's. */
  private void train(RunConfig config, Around around, Trainer.Listener listener) {
    Mesh mesh = new Mesh(config.parallel().data(), 1);
    RankThreads.Body<Trainer.End> body = ranks -> train(config, around, listener, ranks);
    Trainer.End end =
        mesh.size() == 1 ? body.run(Collectives.ALONE) : RankThreads.run(mesh, body);
    assertEquals(Trainer.End.COMPLETE, end);
  }

  private Trainer.End train(
      RunConfig config, Around around, Trainer.Listener listener, Collectives ranks) {
    try (Stream stream = Stream.open(Device.CPU, 2);
        Trainer trainer = runs.trainer(config, TinyRun.rows(40), stream, ranks)) {
      trainer.aroundWrites(around.of(ranks.rank(Axis.WORLD)));
      RunFolder.inspect(config, TrainingRun.Loss.TARGETS).ifPresent(trainer::resume);
      return trainer.run(listener, () -> false);
    }
  }

  /** All files of all checkpoints, by their path. */
  private static Map<String, byte[]> files(Path output) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    Path root = output.resolve("checkpoints");
    try (java.util.stream.Stream<Path> paths = Files.walk(root)) {
      for (Path path : paths.filter(Files::isRegularFile).toList()) {
        files.put(root.relativize(path).toString(), Files.readAllBytes(path));
      }
    }
    return files;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "parallel.data=1",
        "parallel.data=2",
        "parallel={data: 3, shard: optimizer}",
        "parallel={data: 2, shard: parameters}"
      })
  void everyFileHasTheBitsOfOneThatIsWrittenAtOnce(String layout) throws IOException {
    Path now = folder.resolve("now");
    Path later = folder.resolve("later");
    String[] common = {OFTEN, layout, "precision=bf16", "checkpoint.keep=9"};
    List<Integer> saved = new ArrayList<>();
    train(with(common, "output=" + now), rank -> work -> work, new Trainer.Listener() {});
    train(
        with(common, "output=" + later, BACKGROUND),
        rank -> work -> work,
        new Trainer.Listener() {
          @Override
          public void saved(int step, Path checkpoint) {
            saved.add(step);
          }
        });
    Map<String, byte[]> expected = files(now);
    Map<String, byte[]> got = files(later);
    assertEquals(expected.keySet(), got.keySet());
    expected.forEach((name, bytes) -> assertArrayEquals(bytes, got.get(name), name));
    assertEquals(List.of(2, 4, 6), saved);
  }

  private RunConfig with(String[] common, String... more) {
    List<String> all = new ArrayList<>(List.of(common));
    all.addAll(List.of(more));
    return runs.config(all.toArray(String[]::new));
  }

  /** The third step ends while the checkpoint of the second is held back; the fourth waits for it. */
  @ParameterizedTest
  @ValueSource(strings = {"parallel.data=1", "parallel={data: 2, shard: gradients}"})
  void trainingGoesOnMeanwhile(String layout) {
    CountDownLatch written = new CountDownLatch(1);
    RunConfig config = runs.config(OFTEN, layout, BACKGROUND);
    Checkpoints checkpoints = RunFolder.checkpoints(config);
    List<Integer> complete = new ArrayList<>();
    train(
        config,
        rank -> work -> () -> {
          awaitQuietly(written);
          work.run();
        },
        new Trainer.Listener() {
          @Override
          public void step(StepMetrics metrics) {
            if (metrics.step() == 3) {
              complete.addAll(checkpoints.steps());
              written.countDown();
            }
          }
        });
    assertEquals(List.of(), complete);
    assertEquals(List.of(4, 6), checkpoints.steps());
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** A part that is half there when the run dies is no checkpoint; the run goes on from the one before. */
  @Test
  void aRunGoesOnFromTheLastThatAllRanksWrote() throws IOException {
    String layout = "parallel={data: 2, shard: optimizer}";
    RunConfig config = runs.config(OFTEN, layout, BACKGROUND, "checkpoint.resume=auto");
    UserError error =
        assertThrows(
            UserError.class, () -> train(config, inTheWayOf(1, 4), new Trainer.Listener() {}));
    assertTrue(error.getMessage().startsWith("rank 1: "), error.getMessage());
    assertTrue(error.getMessage().contains("step-4: cannot be written: "), error.getMessage());
    assertTrue(
        error.getMessage().endsWith("last complete checkpoint: step-2"), error.getMessage());
    assertEquals(List.of(2), RunFolder.checkpoints(config).steps());

    train(config, rank -> work -> work, new Trainer.Listener() {});
    assertFalse(Files.exists(config.output().resolve("checkpoints/step-4.tmp")));
    Path whole = folder.resolve("whole");
    train(
        runs.config(OFTEN, layout, "output=" + whole),
        rank -> work -> work,
        new Trainer.Listener() {});
    assertArrayEquals(
        files(whole).get("step-6/model.safetensors"),
        files(config.output()).get("step-6/model.safetensors"));
  }

  /** Puts a folder where a rank's file of a step belongs. */
  private Around inTheWayOf(int rank, int step) {
    String name = "m.rank-%d-of-2.safetensors".formatted(rank);
    Path file =
        folder.resolve("run/checkpoints").resolve("step-" + step + ".tmp/trainer").resolve(name);
    return its ->
        work ->
            () -> {
              if (its == rank && Files.isDirectory(file.getParent())) {
                try {
                  Files.createDirectory(file);
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }
              work.run();
            };
  }

  /** Whoever fails for another reason finishes what needs nobody else. */
  @Test
  void aFailureMeanwhileLeavesTheCheckpointWhole() {
    RunConfig config = runs.config(OFTEN, BACKGROUND);
    IllegalStateException failure =
        assertThrows(
            IllegalStateException.class,
            () ->
                train(
                    config,
                    rank -> work -> work,
                    new Trainer.Listener() {
                      @Override
                      public void step(StepMetrics metrics) {
                        if (metrics.step() == 3) {
                          throw new IllegalStateException("at step 3");
                        }
                      }
                    }));
    assertEquals("at step 3", failure.getMessage());
    assertEquals(List.of(2), RunFolder.checkpoints(config).steps());
  }

  @Test
  void theCopyIsPartOfThePlan() {
    RunConfig now = runs.config("precision=bf16");
    RunConfig later = runs.config("precision=bf16", BACKGROUND);
    long more =
        runs.plan(later, TinyRun.rows(40)).bytes().total()
            - runs.plan(now, TinyRun.rows(40)).bytes().total();
    long before = Memory.stats().liveBytes();
    long[] taken = new long[2];
    for (int i = 0; i < 2; i++) {
      try (Stream stream = Stream.open(Device.CPU, 2);
          Trainer trainer = runs.trainer(i == 0 ? now : later, TinyRun.rows(40), stream)) {
        taken[i] = Memory.stats().liveBytes() - before;
        trainer.step();
      }
    }
    assertTrue(more > 0);
    assertEquals(more, taken[1] - taken[0]);
  }
}
