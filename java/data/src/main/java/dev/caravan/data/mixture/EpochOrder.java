package dev.caravan.data.mixture;

/**
 * Rows cycled epoch by epoch, in file order or shuffled by a permutation keyed by (seed, epoch).
 */
final class EpochOrder implements ExampleOrder {
  private final int rows;
  private final boolean shuffle;
  private final long seed;
  private final Permutation permutation;

  EpochOrder(int rows, boolean shuffle, long seed) {
    if (rows < 1) {
      throw new IllegalArgumentException("rows must be at least 1, got " + rows);
    }
    this.rows = rows;
    this.shuffle = shuffle;
    this.seed = seed;
    permutation = new Permutation(rows);
  }

  @Override
  public int rowAt(long k) {
    if (k < 0) {
      throw new IndexOutOfBoundsException("example " + k);
    }
    long position = k % rows;
    return (int) (shuffle ? permutation.at(Mixing.mix(seed, k / rows), position) : position);
  }

  @Override
  public long epochSize() {
    return rows;
  }
}
