package dev.caravan.data.mixture;

import dev.caravan.data.UserError;

/**
 * Whose turn it is: example k of the endless sequence that training reads, as a pure function of k
 * and what the order was made with. So the resume state is a number, every rank agrees without
 * talking, and any step can be built alone.
 */
public interface ExampleOrder {
  /** The row that example {@code k} (from 0) is. */
  int rowAt(long k);

  /** The number of examples after which every row has come up; an epoch. */
  long epochSize();

  /** File order, again and again: example k is row k mod {@code rows}. */
  static ExampleOrder sequential(int rows) {
    return new EpochOrder(rows, false, 0);
  }

  /**
   * Rows that are in order themselves: example k is row k, also beyond the epoch, up to row 2^31 -
   * 1.
   *
   * @param epoch examples of an epoch
   */
  static ExampleOrder drawn(long epoch) {
    return new ExampleOrder() {
      @Override
      public int rowAt(long k) {
        if (k > Integer.MAX_VALUE) {
          throw new UserError("example " + k + ": a mixture is drawn 2^31 times at the most");
        }
        return (int) k;
      }

      @Override
      public long epochSize() {
        return epoch;
      }
    };
  }

  /**
   * Every row once an epoch, each epoch in another order: example k is row P(k mod rows), where P
   * is a permutation keyed by (seed, k / rows). Constant time and memory.
   */
  static ExampleOrder shuffled(int rows, long seed) {
    return new EpochOrder(rows, true, seed);
  }
}
