package dev.caravan.data.mix;

import dev.caravan.data.PairSet;

/** The examples of a mixture as pairs. One that has nothing to teach has no tokens. */
final class MixturePairs implements PairSet {
  private final MixtureRows rows;
  private final ThreadLocal<int[]> scratch = ThreadLocal.withInitial(() -> new int[1024]);

  MixturePairs(MixtureRows rows) {
    this.rows = rows;
  }

  @Override
  public int size() {
    return rows.size();
  }

  @Override
  public boolean isDrawn() {
    return true;
  }

  @Override
  public int sourceLength(int row) {
    return rows.sources(row);
  }

  @Override
  public int targetLength(int row) {
    return rows.length(row) - rows.sources(row);
  }

  @Override
  public int targets(int row) {
    return rows.targets(row);
  }

  @Override
  public void copySource(int row, int[] into, int offset) {
    int[] whole = scratch(row);
    rows.copyIds(row, whole, 0);
    System.arraycopy(whole, 0, into, offset, sourceLength(row));
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    int[] whole = scratch(row);
    rows.copyLabels(row, whole, 0);
    System.arraycopy(whole, sourceLength(row), into, offset, targetLength(row));
  }

  @Override
  public String where(int row) {
    return rows.where(row);
  }

  /** Room for a whole row, of each thread, which grows until it fits the longest. */
  private int[] scratch(int row) {
    if (scratch.get().length < rows.length(row)) {
      scratch.set(new int[2 * rows.length(row)]);
    }
    return scratch.get();
  }
}
