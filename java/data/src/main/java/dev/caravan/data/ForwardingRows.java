package dev.caravan.data;

/** Rows that are other rows, but for what an implementation says otherwise. */
public interface ForwardingRows extends RowSet {
  /** The other rows. */
  RowSet rows();

  @Override
  default int size() {
    return rows().size();
  }

  @Override
  default int length(int row) {
    return rows().length(row);
  }

  @Override
  default int targets(int row) {
    return rows().targets(row);
  }

  @Override
  default void copyIds(int row, int[] into, int offset) {
    rows().copyIds(row, into, offset);
  }

  @Override
  default void copyLabels(int row, int[] into, int offset) {
    rows().copyLabels(row, into, offset);
  }

  @Override
  default String where(int row) {
    return rows().where(row);
  }

  @Override
  default int maxLength() {
    return rows().maxLength();
  }

  @Override
  default int minLength() {
    return rows().minLength();
  }

  @Override
  default long totalTokens() {
    return rows().totalTokens();
  }

  @Override
  default long totalTargets() {
    return rows().totalTargets();
  }
}
