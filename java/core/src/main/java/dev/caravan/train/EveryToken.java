package dev.caravan.train;

import dev.caravan.data.RowSet;

/**
 * Rows with a loss on every token but the first, whatever their own labels say: what pre-training
 * learns from.
 *
 * @param rows whose tokens these are
 */
record EveryToken(RowSet rows) implements RowSet {
  @Override
  public int size() {
    return rows.size();
  }

  @Override
  public int length(int row) {
    return rows.length(row);
  }

  @Override
  public int targets(int row) {
    return Math.max(0, rows.length(row) - 1);
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    rows.copyIds(row, into, offset);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    rows.copyIds(row, into, offset);
  }

  @Override
  public String where(int row) {
    return rows.where(row);
  }

  @Override
  public int maxLength() {
    return rows.maxLength();
  }

  @Override
  public int minLength() {
    return rows.minLength();
  }

  @Override
  public long totalTokens() {
    return rows.totalTokens();
  }

  @Override
  public long totalTargets() {
    long targets = 0;
    for (int row = 0; row < rows.size(); row++) {
      targets += targets(row);
    }
    return targets;
  }
}
