package dev.caravan.ops;

import dev.caravan.kernels.Stream;

/** One prepared piece of work: run as often as wanted, without allocating. */
@FunctionalInterface
public interface Launch {
  /** Enqueues the work. {@code rows} is the number of target rows in use, known to the host. */
  void run(Stream stream, int rows);
}
