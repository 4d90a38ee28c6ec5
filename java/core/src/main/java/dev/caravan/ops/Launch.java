package dev.caravan.ops;

import dev.caravan.kernels.Stream;

/** One prepared piece of work: run as often as wanted, without allocating. */
@FunctionalInterface
public interface Launch {
  /** A launch that is always part of its unit. */
  int ALWAYS = -1;

  /** Enqueues the work. */
  void run(Stream stream);

  /**
   * The work is left out unless more than so many target rows are in use, which the host knows before
   * it launches: so the chunks behind the last target cost nothing, and a unit has as many variants as
   * there are different bounds.
   */
  default int above() {
    return ALWAYS;
  }

  /** The same work, left out unless more than {@code rows} target rows are in use. */
  default Launch above(int rows) {
    Launch work = this;
    return new Launch() {
      @Override
      public void run(Stream stream) {
        work.run(stream);
      }

      @Override
      public int above() {
        return rows;
      }
    };
  }
}
