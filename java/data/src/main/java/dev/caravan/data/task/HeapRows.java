package dev.caravan.data.task;

import dev.caravan.data.RowStore;

/** Rows on the heap. */
final class HeapRows implements RowSink {
  private final RowStore.Builder rows = new RowStore.Builder();

  @Override
  public void file(String name) {
    rows.file(name);
  }

  @Override
  public void add(int[] ids, int[] labels, int count, long line) {
    rows.add(ids, labels, count, line);
  }

  RowStore build() {
    return rows.build();
  }
}
