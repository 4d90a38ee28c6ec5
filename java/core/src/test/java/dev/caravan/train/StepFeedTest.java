package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.RowSet;
import dev.caravan.data.RowStore;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.log.StepMetrics;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** That the next step is read while one is computed, shown by what must come before what. */
class StepFeedTest {
  private static final int PER_STEP = 4;
  private static final int STEPS = 4;

  @TempDir Path folder;

  private final RowStore rows = TinyRun.rows(PER_STEP * STEPS);

  private StepFeed feed(IntConsumer reading) {
    return new StepFeed(source(new WatchedRows(rows, reading)));
  }

  private StepSource source(RowSet from) {
    return new StepSource(
        from,
        ExampleOrder.sequential(rows.size()),
        StepSize.examples(PER_STEP),
        BufferShape.of(64, TinyRun.LENGTH, true, rows.minLength(), 0));
  }

  /** Waits for an event that comes at once, unless it never does. */
  private static void await(CountDownLatch event) {
    try {
      assertTrue(event.await(60, TimeUnit.SECONDS), "it never came");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    }
  }

  private void assertIs(int number, Step step) {
    StepSource alone = source(rows);
    Step expected = alone.newStep();
    alone.fill((long) number * PER_STEP, expected);
    assertEquals(expected.firstK(), step.firstK());
    assertEquals(expected.microBatches(), step.microBatches());
    for (int b = 0; b < step.microBatches(); b++) {
      assertArrayEquals(expected.microBatch(b).ids(), step.microBatch(b).ids());
      assertArrayEquals(expected.microBatch(b).positions(), step.microBatch(b).positions());
      assertEquals(expected.microBatch(b).targets(), step.microBatch(b).targets());
    }
  }

  @Test
  void theNextStepIsReadWhileOneIsComputed() {
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch computed = new CountDownLatch(1);
    try (StepFeed feed =
        feed(
            row -> {
              if (row / PER_STEP == 1) {
                begun.countDown();
                await(computed);
              }
            })) {
      Step first = feed.take(0);
      feed.readAhead();
      await(begun); // the next step's reading has begun and cannot end before this one is computed
      assertIs(0, first);
      computed.countDown();
      assertIs(1, feed.take(PER_STEP));
      assertTrue(feed.waitedSeconds() >= 0);
    }
  }

  @Test
  void itReadsOneStepAheadAndNoMore() {
    List<Integer> read = new CopyOnWriteArrayList<>();
    try (StepFeed feed = feed(row -> read.add(row / PER_STEP))) {
      for (int s = 0; s < STEPS - 1; s++) {
        feed.take((long) s * PER_STEP);
        feed.readAhead();
        feed.readAhead();
        assertFalse(read.contains(s + 2), "step " + s + " has read " + read);
      }
    }
  }

  @Test
  void aRunThatGoesOnElsewhereGetsTheStepItAsksFor() {
    try (StepFeed feed = feed(row -> {})) {
      feed.take(0);
      feed.readAhead();
      assertIs(3, feed.take(3 * PER_STEP));
      feed.readAhead();
      assertIs(0, feed.take(0));
    }
  }

  @Test
  void badDataStopsTheStepThatItBelongsTo() {
    UserError bad = new UserError("train.jsonl:7: no field 'output'");
    AtomicBoolean mended = new AtomicBoolean();
    try (StepFeed feed =
        feed(
            row -> {
              if (row / PER_STEP == 1 && !mended.get()) {
                throw bad;
              }
            })) {
      Step first = feed.take(0);
      feed.readAhead();
      assertIs(0, first);
      assertSame(bad, assertThrows(UserError.class, () -> feed.take(PER_STEP)));
      mended.set(true);
      assertIs(1, feed.take(PER_STEP));
    }
  }

  @Test
  void badDataThatNobodyTakesStopsNobody() {
    try (StepFeed feed =
        feed(
            row -> {
              if (row / PER_STEP == 1) {
                throw new UserError("bad");
              }
            })) {
      feed.take(0);
      feed.readAhead();
      assertIs(2, feed.take(2 * PER_STEP));
    }
  }

  @Test
  void anInterruptEndsTheWaitAndStays() {
    CountDownLatch never = new CountDownLatch(1);
    StepFeed feed = feed(row -> await(never));
    Thread.currentThread().interrupt();
    assertThrows(CancellationException.class, () -> feed.take(0));
    assertTrue(Thread.interrupted(), "the thread is still interrupted");
    feed.close(); // interrupts the reader, which would never end by itself
  }

  @Test
  void closingEndsWhatIsRead() {
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch never = new CountDownLatch(1);
    AtomicBoolean ended = new AtomicBoolean();
    StepFeed feed =
        feed(
            row -> {
              if (row / PER_STEP == 1) {
                begun.countDown();
                try {
                  await(never);
                } finally {
                  ended.set(true);
                }
              }
            });
    feed.take(0);
    feed.readAhead();
    await(begun);
    feed.close();
    assertTrue(ended.get(), "nothing reads any more");
  }

  /** The whole loop: step 2 is being read before step 1 is done, and cannot be read before it is. */
  @Test
  void theLoopComputesWhileItReads() {
    Blas.install();
    RunConfig config =
        new TinyRun(folder, Device.CPU)
            .config(
                "train.shuffle=false",
                "train.steps=2",
                "train.examples_per_step=" + PER_STEP,
                "checkpoint.every_steps=100000");
    CountDownLatch done = new CountDownLatch(1);
    CountDownLatch reading = new CountDownLatch(1);
    RowSet slow =
        new WatchedRows(
            rows,
            row -> {
              if (row / PER_STEP == 1) {
                reading.countDown();
                await(done);
              }
            });
    try (Stream stream = Stream.open(Device.CPU, 1);
        Trainer trainer =
            TrainingRun.onRows(
                config,
                ModelSource.of(config.model()),
                slow,
                2,
                DeviceChoice.of("cpu", 1),
                stream)) {
      StepMetrics first = trainer.step();
      await(reading);
      done.countDown();
      StepMetrics second = trainer.step();
      assertEquals(2, second.step());
      assertTrue(first.dataWaitS() <= first.seconds());
      assertTrue(second.dataWaitS() <= second.seconds());
    }
  }
}
