package dev.caravan.data.pack;

/**
 * The fixed shape of a micro-batch of pairs: a buffer for the encoder and one for the decoder.
 *
 * @param sourceTokens rows of the encoder's buffer
 * @param targetTokens rows of the decoder's buffer
 * @param sourceLength the longest source, {@code sequence.length}; at most {@code sourceTokens}
 * @param targetLength the longest target, {@code sequence.target_length}; at most {@code
 *     targetTokens}
 * @param packing true: documents lie one after another; false: each has a slot of full length in
 *     both buffers
 * @param maxDocuments the most documents of a micro-batch, what the plan was made for
 * @param padId the token id at padding rows, and at decoder rows behind a label that does not count
 * @param startId the decoder's first token of each document
 */
public record PairShape(
    int sourceTokens,
    int targetTokens,
    int sourceLength,
    int targetLength,
    boolean packing,
    int maxDocuments,
    int padId,
    int startId) {
  public PairShape {
    check("sourceLength", sourceLength, 1);
    check("targetLength", targetLength, 1);
    check("sourceTokens", sourceTokens, sourceLength);
    check("targetTokens", targetTokens, targetLength);
    check("maxDocuments", maxDocuments, 1);
    check("padId", padId, 0);
    check("startId", startId, 0);
  }

  private static void check(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException(name + " must be at least " + least + ", got " + value);
    }
  }

  /** The rows that a source of {@code length} tokens takes. */
  int sourceFootprint(int length) {
    return packing ? length : sourceLength;
  }

  /** The rows that a target of {@code length} tokens takes. */
  int targetFootprint(int length) {
    return packing ? length : targetLength;
  }
}
