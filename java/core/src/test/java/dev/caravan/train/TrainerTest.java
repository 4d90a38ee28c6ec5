package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The promises of the training loop, on a tiny model: same bits, exact sums, exact resume. */
class TrainerTest {
  private static final String MODEL =
      """
      model:
        seed: 3
        config: {model_type: llama, vocab_size: 61, hidden_size: 32, intermediate_size: 48,
                 num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2,
                 max_position_embeddings: 64, rms_norm_eps: 1.0e-5, tie_word_embeddings: true,
                 hidden_act: silu}
      data: {path: unused.jsonl, format: tokens}
      """;
  private static final int LENGTH = 24;
  private static final int STEPS = 6;
  private static final long HEAP_BYTES_A_STEP = 100_000;

  @TempDir Path folder;

  @BeforeAll
  static void products() {
    Blas.install();
  }

  /** What a run left behind. */
  private record Outcome(List<StepMetrics> steps, byte[] weights, byte[] m, byte[] v) {
    double[] losses() {
      return steps.stream().mapToDouble(StepMetrics::loss).toArray();
    }

    double[] norms() {
      return steps.stream().mapToDouble(StepMetrics::gradNorm).toArray();
    }
  }

  /** Rows that can be learnt: every token is three more than the one before. */
  private static RowStore rows(int count) {
    Random random = new Random(5);
    RowStore.Builder rows = new RowStore.Builder();
    rows.file("test.jsonl");
    for (int i = 0; i < count; i++) {
      int length = 2 + random.nextInt(LENGTH - 2);
      int start = random.nextInt(61);
      int[] ids = IntStream.range(0, length).map(t -> (start + 3 * t) % 61).toArray();
      int[] labels = ids.clone();
      Arrays.fill(labels, 0, random.nextInt(length - 1) + 1, -100);
      rows.add(ids, labels, length, i + 1);
    }
    return rows.build();
  }

  private RunConfig config(String... assignments) {
    List<String> all =
        new ArrayList<>(
            List.of(
                "output=" + folder.resolve("run"),
                "sequence.length=" + LENGTH,
                "train.steps=" + STEPS,
                "train.examples_per_step=8",
                "train.micro_batch_tokens=64",
                "optimizer.lr=0.01",
                "optimizer.warmup_steps=2",
                "checkpoint.resume=never"));
    all.addAll(List.of(assignments));
    return RunFile.parse(MODEL, "test", "test", all);
  }

  private Trainer trainer(RunConfig config, RowStore rows, Stream stream) {
    BufferShape shape = shape(config, rows);
    ModelSource model = ModelSource.of(config.model());
    RunPlan plan =
        RunPlan.choose(
            model.config(), config, shape, Device.Kind.CPU, stream.threads(), 1L << 30);
    StepSize size = StepSize.examples(config.train().examplesPerStep().orElseThrow());
    StepSource source =
        new StepSource(rows, ExampleOrder.shuffled(rows.size(), 17), size, shape);
    Optional<Trainer.HeldOut> heldOut =
        Optional.of(
            new Trainer.HeldOut(
                new StepSource(rows, ExampleOrder.sequential(rows.size()), size, shape),
                rows.size(),
                0));
    return new Trainer(
        config, model, plan, source, heldOut, config.train().steps().orElseThrow(), stream);
  }

  private Outcome train(int threads, String... assignments) throws IOException {
    RunConfig config = config(assignments);
    List<StepMetrics> steps = new ArrayList<>();
    try (Stream stream = Stream.open(Device.CPU, threads);
        Trainer trainer = trainer(config, rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      run.resumed().ifPresent(trainer::resume);
      trainer.run(
          run,
          new Trainer.Listener() {
            @Override
            public void step(StepMetrics metrics) {
              steps.add(metrics);
            }
          },
          () -> false);
    }
    Path last = config.output().resolve("checkpoints/step-" + STEPS);
    return new Outcome(
        steps,
        Files.readAllBytes(last.resolve("model.safetensors")),
        Files.readAllBytes(last.resolve("trainer/m.safetensors")),
        Files.readAllBytes(last.resolve("trainer/v.safetensors")));
  }

  private static void assertSameBits(Outcome expected, Outcome actual) {
    assertArrayEquals(expected.losses(), actual.losses(), "losses");
    assertArrayEquals(expected.weights(), actual.weights(), "weights");
    assertArrayEquals(expected.m(), actual.m(), "first moments");
    assertArrayEquals(expected.v(), actual.v(), "second moments");
  }

  private static void assertClose(double[] expected, double[] actual, double relative) {
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], relative * Math.abs(expected[i]), "step " + (i + 1));
    }
  }

  @Test
  void theLossFalls() throws IOException {
    double[] losses = train(2).losses();
    assertTrue(losses[STEPS - 1] < losses[0] - 0.1, Arrays.toString(losses));
  }

  @Test
  void twoRunsGiveTheSameBits() throws IOException {
    assertSameBits(train(2), train(2));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void theNumberOfThreadsDoesNotShow(int threads) throws IOException {
    assertSameBits(train(2), train(threads));
  }

  @ParameterizedTest
  @ValueSource(strings = {"selective", "full", "auto"})
  void everyRecomputePolicyGivesTheSameBits(String policy) throws IOException {
    assertSameBits(train(2, "recompute=none"), train(2, "recompute=" + policy));
  }

  @Test
  void theSeedOfTheDataShows() throws IOException {
    Outcome other = train(2, "model.seed=4");
    assertNotEquals(train(2).losses()[0], other.losses()[0]);
  }

  /**
   * float32 sums in another order differ in the last places. AdamW's first steps turn a gradient into
   * little more than its sign, which would blow that up where the gradient is next to nothing: a large
   * eps keeps the update as smooth as the gradient.
   */
  private static final String SMOOTH = "optimizer.eps=1e-2";

  @Test
  void oneBatchOfEightEqualsEightOfOne() throws IOException {
    Outcome whole = train(2, SMOOTH, "train.micro_batch_tokens=256");
    Outcome pieces =
        train(2, SMOOTH, "sequence.packing=false", "train.micro_batch_tokens=" + LENGTH);
    assertClose(whole.losses(), pieces.losses(), 2e-6);
    assertClose(whole.norms(), pieces.norms(), 2e-5);
  }

  @Test
  void packingDoesNotShow() throws IOException {
    Outcome packed = train(2, SMOOTH);
    Outcome apart =
        train(2, SMOOTH, "sequence.packing=false", "train.micro_batch_tokens=" + 2 * LENGTH);
    assertClose(packed.losses(), apart.losses(), 2e-6);
    assertClose(packed.norms(), apart.norms(), 2e-5);
  }

  @ParameterizedTest
  @ValueSource(strings = {"fp32", "bf16"})
  void aStoppedRunGoesOnWithTheSameBits(String precision) throws IOException {
    Outcome whole = train(2, "precision=" + precision);
    RunConfig first = config("precision=" + precision, "output=" + folder.resolve("stopped"));
    try (Stream stream = Stream.open(Device.CPU, 2);
        Trainer trainer = trainer(first, rows(40), stream);
        RunFolder run = RunFolder.open(first)) {
      Trainer.End end = trainer.run(run, new Trainer.Listener() {}, () -> trainer.done() == 4);
      assertEquals(Trainer.End.STOPPED, end);
    }
    Outcome rest =
        train(
            1,
            "precision=" + precision,
            "output=" + folder.resolve("stopped"),
            "checkpoint.resume=auto");
    assertEquals(5, rest.steps().get(0).step());
    assertArrayEquals(whole.weights(), rest.weights());
    assertArrayEquals(whole.m(), rest.m());
    assertArrayEquals(whole.v(), rest.v());
  }

  @Test
  void bf16FollowsTheFloatCurve() throws IOException {
    assertClose(train(2).losses(), train(2, "precision=bf16").losses(), 0.02);
  }

  @Test
  void evaluationSeesEveryRowOnce() throws IOException {
    RunConfig config = config();
    RowStore rows = rows(40);
    List<EvalMetrics> found = new ArrayList<>();
    try (Stream stream = Stream.open(Device.CPU, 2);
        Trainer trainer = trainer(config, rows, stream);
        RunFolder run = RunFolder.open(config)) {
      trainer.run(
          run,
          new Trainer.Listener() {
            @Override
            public void evaluated(EvalMetrics metrics) {
              found.add(metrics);
            }
          },
          () -> false);
    }
    assertEquals(1, found.size());
    assertEquals(rows.totalTargets(), found.get(0).evalTargets());
    assertTrue(found.get(0).evalLoss() > 0 && found.get(0).evalLoss() < Math.log(61));
  }

  @Test
  void allocatesWhatThePlanSaysAndNothingAfterTheFirstStep() throws IOException {
    RunConfig config = config("checkpoint.every_steps=100");
    RowStore rows = rows(40);
    try (Stream stream = Stream.open(Device.CPU, 2);
        RunFolder run = RunFolder.open(config)) {
      long before = Memory.stats().liveBytes();
      try (Trainer trainer = trainer(config, rows, stream)) {
        assertEquals(planned(config, rows), Memory.stats().liveBytes() - before, "the plan");
        long[] after = new long[STEPS + 1];
        long[] heap = new long[STEPS + 1];
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        trainer.run(
            run,
            new Trainer.Listener() {
              @Override
              public void step(StepMetrics metrics) {
                after[metrics.step()] = Memory.stats().allocations();
                heap[metrics.step()] = threads.getCurrentThreadAllocatedBytes();
              }
            },
            () -> false);
        for (int step = 2; step <= STEPS; step++) {
          assertEquals(after[1], after[step], "native allocations by step " + step);
          long bytes = heap[step] - heap[step - 1];
          assertTrue(bytes < HEAP_BYTES_A_STEP, "step " + step + " made " + bytes + " bytes");
        }
      }
      assertEquals(before, Memory.stats().liveBytes(), "everything is given back");
    }
  }

  /** Bytes that the plan says the trainer allocates: all but the stream's own scratch. */
  private static long planned(RunConfig config, RowStore rows) {
    BufferShape shape = shape(config, rows);
    ModelSource model = ModelSource.of(config.model());
    RunPlan plan =
        RunPlan.choose(model.config(), config, shape, Device.Kind.CPU, 2, 1L << 30);
    return plan.bytes().total() - 2 * (4L << 20);
  }

  private static BufferShape shape(RunConfig config, RowStore rows) {
    return BufferShape.of(
        config.train().microBatchTokens().orElseThrow(),
        config.sequence().length(),
        config.sequence().packing(),
        rows.minLength(),
        0);
  }

  @Test
  void aValueThatIsNotFiniteStopsBeforeTheUpdate() throws IOException {
    RunConfig config = config("optimizer.lr=1e30", "optimizer.warmup_steps=0");
    try (Stream stream = Stream.open(Device.CPU, 2);
        Trainer trainer = trainer(config, rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      NonFinite failure =
          assertThrows(
              NonFinite.class, () -> trainer.run(run, new Trainer.Listener() {}, () -> false));
      assertTrue(
          failure.getMessage().matches("step [2-6]: .+ not finite, for examples .+not updated"),
          failure.getMessage());
    }
  }

  /** A row that the reader of {@link RowStore} gives back as it was. */
  @Test
  void theRowsAreWhatTheTestThinks() {
    Row row = rows(3).row(1);
    assertEquals(row.inputIds().length, row.labels().length);
    assertEquals(-100, row.labels()[0]);
  }
}
