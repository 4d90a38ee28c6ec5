package dev.caravan.train;

import dev.caravan.data.ForwardingRows;
import dev.caravan.data.RowSet;
import java.util.function.IntConsumer;

/**
 * Rows that tell which of them is read before it is.
 *
 * @param rows what is read
 * @param reading hears of it on the reading thread; what it throws, reading throws
 */
record WatchedRows(RowSet rows, IntConsumer reading) implements ForwardingRows {
  @Override
  public void copyIds(int row, int[] into, int offset) {
    reading.accept(row);
    rows.copyIds(row, into, offset);
  }
}
