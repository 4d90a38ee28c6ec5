package dev.caravan.train;

import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import dev.caravan.kernels.Device;

/**
 * The examples of one step after another. While a GPU works on a step, the next one's are read and
 * packed, so that they cost no time.
 */
final class StepFeed {
  private final StepSource source;
  private final boolean overlaps;
  private Step current;
  private Step ahead;
  private boolean ready; // `ahead` holds the step behind `current`
  private double waited;

  StepFeed(StepSource source, Device device) {
    this.source = source;
    overlaps = device.kind() == Device.Kind.CUDA;
    current = source.newStep();
    ahead = source.newStep();
  }

  /** The step whose examples begin at {@code firstK}. */
  Step take(long firstK) {
    waited = 0;
    if (!ready || ahead.firstK() != firstK) {
      fill(firstK, true);
    }
    Step taken = ahead;
    ahead = current;
    current = taken;
    ready = false;
    return current;
  }

  /** Reads the examples of the step behind the current one, while the current one is computed. */
  void readAhead() {
    if (overlaps) {
      fill(current.nextK(), false);
    }
  }

  private void fill(long firstK, boolean deviceWaits) {
    long began = System.nanoTime();
    source.fill(firstK, ahead);
    ready = true;
    waited += deviceWaits ? (System.nanoTime() - began) * 1e-9 : 0;
  }

  /** Seconds that the current step's computation waited for its examples. */
  double waitedSeconds() {
    return waited;
  }
}
