package dev.caravan.data.pack;

/**
 * The fixed shape of a micro-batch buffer.
 *
 * @param tokens rows of a buffer: {@code micro_batch_tokens}
 * @param sequenceLength the longest document, {@code sequence.length}; at most {@code tokens}
 * @param packing true: documents lie one after another and the tail is padded; false: each document
 *     has its own slot of {@code sequenceLength} rows and its rest is padded
 * @param maxDocuments the most documents of a buffer, what the plan was made for
 * @param padId the token id at padding rows; any id of the vocabulary
 */
public record BufferShape(
    int tokens, int sequenceLength, boolean packing, int maxDocuments, int padId) {
  public BufferShape {
    if (sequenceLength < 1) {
      throw new IllegalArgumentException(
          "sequenceLength must be at least 1, got " + sequenceLength);
    }
    if (tokens < sequenceLength) {
      throw new IllegalArgumentException(
          "tokens must be at least sequenceLength = " + sequenceLength + ", got " + tokens);
    }
    if (maxDocuments < 1) {
      throw new IllegalArgumentException("maxDocuments must be at least 1, got " + maxDocuments);
    }
    if (padId < 0) {
      throw new IllegalArgumentException("padId must be a token id, got " + padId);
    }
  }

  /**
   * The shape for rows of at least {@code shortestRow} tokens: as many documents as could ever
   * share a buffer.
   *
   * @param shortestRow tokens of the shortest row; counts as 1 when it is 0
   */
  public static BufferShape of(
      int tokens, int sequenceLength, boolean packing, int shortestRow, int padId) {
    int most = packing ? tokens / Math.max(1, shortestRow) : tokens / sequenceLength;
    return new BufferShape(tokens, sequenceLength, packing, Math.max(1, most), padId);
  }

  /** The rows that a document of {@code length} tokens takes. */
  int footprint(int length) {
    return packing ? length : sequenceLength;
  }
}
