package dev.caravan.parallel;

import dev.caravan.kernels.Collective;

/** One rank's end of one group: exchanges memory of the host, one exchange at a time. */
interface Transport extends AutoCloseable {
  /** Ranks of the group. */
  int size();

  /** This rank's place among them. */
  int rank();

  /**
   * Does an exchange and waits for it.
   *
   * @param step what the rank is at, for errors
   * @throws RankFailure if another rank failed, does something else or does not come
   */
  void exchange(Collective collective, long step);

  /** Sums small numbers over the group, in the order of the ranks. Waits. */
  void sum(double[] values, long step);

  /** Wakes every rank that waits, now or later, with the reason. */
  void abort(Throwable reason);

  @Override
  default void close() {}
}
