package dev.caravan.parallel;

/**
 * Who takes which buffer of a step: buffer i goes to rank i mod N, so a step has as many rounds as the
 * busiest rank has buffers; in the last round, some ranks may have none.
 *
 * @param rank from 0
 * @param ranks N
 */
public record Turns(int rank, int ranks) {
  /** No buffer in that round. */
  public static final int NONE = -1;

  /** Rounds of a step. */
  public int rounds(int buffers) {
    return Math.max(1, (buffers + ranks - 1) / ranks);
  }

  /** The rank's buffer in a round, or {@link #NONE}. */
  public int buffer(int round, int buffers) {
    int buffer = round * ranks + rank;
    return buffer < buffers ? buffer : NONE;
  }

  /** A rank's share of the cores: at least one. */
  public int threads(int all) {
    return Math.max(1, all / ranks + (rank < all % ranks ? 1 : 0));
  }
}
