package dev.caravan.train;

import static dev.caravan.train.TinyRun.LENGTH;
import static dev.caravan.train.TinyRun.STEPS;
import static dev.caravan.train.TinyRun.assertClose;
import static dev.caravan.train.TinyRun.assertSameBits;
import static dev.caravan.train.TinyRun.rows;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.train.TinyRun.Outcome;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The promises of the training loop, on a tiny model: same bits, exact sums, exact resume. */
class TrainerTest {
  private static final long HEAP_BYTES_A_STEP = 100_000;

  @TempDir Path folder;

  @BeforeAll
  static void products() {
    Blas.install();
  }

  private TinyRun runs() {
    return new TinyRun(folder, Device.CPU);
  }

  private RunConfig config(String... assignments) {
    return runs().config(assignments);
  }

  private Trainer trainer(RunConfig config, RowStore rows, Stream stream) {
    return runs().trainer(config, rows, stream);
  }

  private Outcome train(int threads, String... assignments) throws IOException {
    return runs().train(threads, assignments);
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
    runs().trainFour("precision=" + precision, "output=" + folder.resolve("stopped"));
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
  private long planned(RunConfig config, RowStore rows) {
    return runs().plan(config, rows).bytes().total() - 2 * (4L << 20);
  }

  @Test
  void aValueThatIsNotFiniteStopsBeforeTheUpdate() throws IOException {
    RunConfig config = config("optimizer.lr=1e30", "optimizer.warmup_steps=0");
    try (Stream stream = Stream.open(Device.CPU, 2);
        Trainer trainer = trainer(config, rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      NonFinite failure =
          assertThrows(
              NonFinite.class, () -> trainer.run(new Trainer.Listener() {}, () -> false));
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
