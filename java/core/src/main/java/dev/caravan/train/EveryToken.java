package dev.caravan.train;

import dev.caravan.data.ForwardingRows;
import dev.caravan.data.RowSet;

/**
 * Rows with a loss on every token but the first, whatever their own labels say: what pre-training
 * learns from.
 *
 * @param rows whose tokens these are
 */
record EveryToken(RowSet rows) implements ForwardingRows {
  @Override
  public int targets(int row) {
    return Math.max(0, rows.length(row) - 1);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    rows.copyIds(row, into, offset);
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
