package dev.caravan.data.task;

/** Takes rows in the order of files and lines. */
interface RowSink {
  /** Rows added from here on come from {@code name}. Must be called before the first row. */
  void file(String name);

  /**
   * Adds a row of the current file: the first {@code count} entries of both arrays, which are
   * copied.
   *
   * @param line the row's line in its file, from 1
   */
  void add(int[] ids, int[] labels, int count, long line);
}
