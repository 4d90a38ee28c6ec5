package dev.caravan.data;

/**
 * Tokenized pairs for an encoder-decoder, with random access: what {@code data.pack} reads. The
 * encoder reads the source; the decoder predicts the labels, of which those that are {@link
 * Row#NO_TARGET} do not count. Reading is safe from several threads.
 */
public interface PairSet {
  /** The number of pairs. */
  int size();

  /**
   * Whether pairs are made when they are asked for, to fit the lengths that they are packed for.
   * Then there are more than {@link #size}, and those that have nothing to teach have no tokens.
   */
  default boolean isDrawn() {
    return false;
  }

  /** The tokens that the encoder reads of pair {@code row}. */
  int sourceLength(int row);

  /** The labels of pair {@code row}: as many tokens as the decoder reads. */
  int targetLength(int row);

  /** The labels of pair {@code row} that count. */
  int targets(int row);

  /** Copies the source to {@code into[offset .. offset + sourceLength(row))}. */
  void copySource(int row, int[] into, int offset);

  /** Copies the labels to {@code into[offset .. offset + targetLength(row))}. */
  void copyLabels(int row, int[] into, int offset);

  /** Where pair {@code row} came from, for messages: {@code FILE:LINE}. */
  String where(int row);
}
