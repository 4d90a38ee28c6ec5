package dev.caravan.train;

import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * The examples of one step after another. While a step is computed, a thread of this feed's own reads
 * and packs the next one's, one step ahead and no more. What a step holds depends on its first example
 * alone, so reading ahead changes neither its examples nor where a run goes on from.
 *
 * <p>Bad data stops the step that it belongs to, not the one during which it was read. Not safe for
 * several threads.
 */
final class StepFeed implements AutoCloseable {
  private static final long NOTHING = -1;

  private final StepSource source;
  private final ExecutorService reader =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread thread = new Thread(task, "caravan-read-ahead");
            thread.setDaemon(true);
            return thread;
          });
  private Step current;
  private Step ahead;
  private long aheadFirstK = NOTHING;
  private Future<?> reading;
  private double waited;

  StepFeed(StepSource source) {
    this.source = source;
    current = source.newStep();
    ahead = source.newStep();
  }

  /**
   * The step whose examples begin at {@code firstK}; it stays as it is until the next one is taken.
   *
   * @throws CancellationException if the thread is interrupted while it waits; it stays so
   */
  Step take(long firstK) {
    long began = System.nanoTime();
    if (aheadFirstK != NOTHING && aheadFirstK != firstK) {
      drop();
    }
    if (aheadFirstK == NOTHING) {
      read(firstK);
    }
    await();
    Step taken = ahead;
    ahead = current;
    current = taken;
    aheadFirstK = NOTHING;
    waited = (System.nanoTime() - began) * 1e-9;
    return current;
  }

  /** Begins to read the examples of the step behind the current one. */
  void readAhead() {
    if (aheadFirstK == NOTHING) {
      read(current.nextK());
    }
  }

  /** Seconds that the current step's computation waited for its examples. */
  double waitedSeconds() {
    return waited;
  }

  private void read(long firstK) {
    Step into = ahead;
    reading = reader.submit(() -> source.fill(firstK, into));
    aheadFirstK = firstK;
  }

  private void await() {
    try {
      reading.get();
    } catch (ExecutionException e) {
      aheadFirstK = NOTHING;
      if (e.getCause() instanceof RuntimeException failure) {
        throw failure;
      }
      if (e.getCause() instanceof Error failure) {
        throw failure;
      }
      throw new IllegalStateException(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted while it waits for the next step's examples");
    }
  }

  /** Waits for a step that is not wanted, good or bad: its buffers are needed. */
  private void drop() {
    try {
      await();
    } catch (CancellationException e) {
      throw e;
    } catch (RuntimeException e) {
      // A step that nobody takes fails nobody.
    }
    aheadFirstK = NOTHING;
  }

  /** Interrupts what is being read and waits until nothing reads the source any more. */
  @Override
  public void close() {
    reader.shutdownNow();
    boolean interrupted = false;
    for (boolean ended = false; !ended; ) {
      try {
        ended = reader.awaitTermination(1, TimeUnit.MINUTES);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
