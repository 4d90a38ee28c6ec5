package dev.caravan.bench;

import dev.caravan.kernels.Event;
import dev.caravan.kernels.Stream;
import java.util.Arrays;

/** Times work on a stream by its events, so that on a GPU the host's own time does not count. */
final class Stopwatch implements AutoCloseable {
  private static final double MILLI = 1e-3;

  /** A sample runs the work so often that it takes about this long. */
  private static final double SAMPLE_SECONDS = 0.02;

  private static final int MOST_CALLS = 2000;

  private final Stream stream;
  private final Event from;
  private final Event to;

  Stopwatch(Stream stream) {
    this.stream = stream;
    from = Event.open(stream.device());
    to = Event.open(stream.device());
  }

  /** Seconds of one call: the median over {@code samples} of the mean within a sample. */
  double median(Runnable work, int samples) {
    double[] seconds = samples(work, samples);
    int middle = samples / 2;
    return samples % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  }

  /** As {@link #median}, but the shortest: what a device can do. */
  double best(Runnable work, int samples) {
    return samples(work, samples)[0];
  }

  /** Ascending. */
  private double[] samples(Runnable work, int samples) {
    sample(work, 1); // warms caches, pages and clocks
    int calls = (int) Math.max(1, Math.min(MOST_CALLS, SAMPLE_SECONDS / sample(work, 1)));
    double[] seconds = new double[samples];
    for (int i = 0; i < samples; i++) {
      seconds[i] = sample(work, calls);
    }
    Arrays.sort(seconds);
    return seconds;
  }

  private double sample(Runnable work, int calls) {
    from.record(stream);
    for (int i = 0; i < calls; i++) {
      work.run();
    }
    to.record(stream);
    stream.synchronize();
    return Math.max(1e-9, from.millisecondsTo(to) * MILLI / calls);
  }

  @Override
  public void close() {
    to.close();
    from.close();
  }
}
