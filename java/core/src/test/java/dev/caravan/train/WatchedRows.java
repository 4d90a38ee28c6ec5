package dev.caravan.train;

import dev.caravan.data.RowSet;
import java.util.function.IntConsumer;

/**
 * Rows that tell which of them is read before it is.
 *
 * @param rows what is read
 * @param reading hears of it on the reading thread; what it throws, reading throws
 */
record WatchedRows(RowSet rows, IntConsumer reading) implements RowSet {
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
    return rows.targets(row);
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    reading.accept(row);
    rows.copyIds(row, into, offset);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    rows.copyLabels(row, into, offset);
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
    return rows.totalTargets();
  }
}
