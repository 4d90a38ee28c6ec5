package dev.caravan.graph;

/** How the rows of a group of ranks that share experts come to their experts. */
public enum ExpertExchange {
  /** Every rank gathers the tokens of all and computes those of its own experts; the sums go back. */
  GATHER,
  /**
   * An all-to-all of a fixed size: with a capacity, an expert takes no more of a rank's rows than that, so
   * each rank has so many places for those of each other's. A layer without a capacity is gathered.
   */
  PADDED,
  /**
   * An all-to-all of the rows that there are, which the host counts: for finding faults. Memory is that of
   * the worst case, all rows of a rank to one other.
   */
  EXACT
}
