package dev.caravan.parallel;

/**
 * One rank's place among all.
 *
 * @param rank from 0
 * @param size how many there are
 */
public record Ranks(int rank, int size) {
  /** The only rank. */
  public static final Ranks ONE = new Ranks(0, 1);

  /** Checks that the rank is one of them. */
  public Ranks {
    if (size < 1 || rank < 0 || rank >= size) {
      throw new IllegalArgumentException("got rank " + rank + " of " + size);
    }
  }
}
