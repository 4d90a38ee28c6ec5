package dev.caravan.graph;

/**
 * The first pass: turns the graph of a whole model into that of one tensor- and expert-parallel rank,
 * whose weights are parts and whose partial results meet in collectives. With one rank the part is the
 * whole.
 */
public final class Partition {
  private Partition() {}

  /**
   * The graph of one of {@code ranks} tensor-parallel ranks.
   *
   * @throws IllegalArgumentException for more than one, which is not built yet
   */
  public static Graph apply(Graph model, int ranks) {
    if (ranks != 1) {
      throw new IllegalArgumentException("tensor parallelism over " + ranks + " ranks: not built yet");
    }
    return model;
  }
}
