package dev.caravan.data;

/**
 * Tokenized rows with random access: what packing reads. Reading is safe from several threads.
 *
 * <p>Rows have the meaning of {@link Row}; the copying methods exist so that a training step
 * allocates nothing.
 */
public interface RowSet {
  /** The number of rows. */
  int size();

  /** The number of tokens of row {@code row}. */
  int length(int row);

  /** The number of target tokens of row {@code row}; label 0 is never one. */
  int targets(int row);

  /** Copies the token ids of row {@code row} to {@code into[offset .. offset + length(row))}. */
  void copyIds(int row, int[] into, int offset);

  /** Copies the labels of row {@code row} to {@code into[offset .. offset + length(row))}. */
  void copyLabels(int row, int[] into, int offset);

  /** Where row {@code row} came from, for messages: {@code FILE:LINE}. */
  String where(int row);

  /** The longest row's number of tokens; 0 without rows. */
  int maxLength();

  /** The shortest row's number of tokens; 0 without rows. */
  int minLength();

  /** The tokens of all rows. */
  long totalTokens();

  /** The target tokens of all rows. */
  long totalTargets();

  /** A copy of row {@code row}. */
  default Row row(int row) {
    int[] ids = new int[length(row)];
    int[] labels = new int[length(row)];
    copyIds(row, ids, 0);
    copyLabels(row, labels, 0);
    return new Row(ids, labels, row);
  }
}
