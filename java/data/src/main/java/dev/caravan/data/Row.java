package dev.caravan.data;

import java.util.Objects;

/**
 * One tokenized example. {@code labels[i]} is the token at position i (the shift by one happens
 * inside, when rows are packed) or {@link #NO_TARGET}; label 0 is never a target, because nothing
 * predicts it.
 *
 * @param inputIds token ids, [length]
 * @param labels target ids or {@link #NO_TARGET}, [length]
 * @param index which row of its source this is, from 0
 */
public record Row(int[] inputIds, int[] labels, long index) {
  /** The label of a position that is not a target. */
  public static final int NO_TARGET = -100;

  public Row {
    Objects.requireNonNull(inputIds, "inputIds");
    Objects.requireNonNull(labels, "labels");
    if (labels.length != inputIds.length) {
      throw new IllegalArgumentException(
          "labels must be as many as inputIds, got " + labels.length + " and " + inputIds.length);
    }
  }

  /** The number of tokens. */
  public int length() {
    return inputIds.length;
  }

  /**
   * The number of positions that the loss counts: labels other than {@link #NO_TARGET}, without
   * label 0.
   */
  public int targets() {
    return RowStore.targets(labels, labels.length);
  }
}
