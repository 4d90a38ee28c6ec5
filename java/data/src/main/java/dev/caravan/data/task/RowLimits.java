package dev.caravan.data.task;

/**
 * What rows, or pairs of source and target, must fit.
 *
 * @param maxTokens the most tokens of a row, or of a source
 * @param setting what sets that, for messages: {@code sequence.length}, {@code the model's context}
 * @param vocabSize token ids are below it
 * @param targetTokens the most tokens of a target; 0 where there are rows and no pairs
 */
public record RowLimits(int maxTokens, String setting, int vocabSize, int targetTokens) {
  public RowLimits {
    if (targetTokens < 0) {
      throw new IllegalArgumentException("targetTokens must be at least 0, got " + targetTokens);
    }
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens must be at least 1, got " + maxTokens);
    }
    if (vocabSize < 1) {
      throw new IllegalArgumentException("vocabSize must be at least 1, got " + vocabSize);
    }
  }

  /** Limits of rows. */
  public RowLimits(int maxTokens, String setting, int vocabSize) {
    this(maxTokens, setting, vocabSize, 0);
  }

  /** Limits of a training run of an encoder-decoder, as the keys of {@code sequence} set them. */
  public static RowLimits ofPairs(int sequenceLength, int targetLength, int vocabSize) {
    if (targetLength < 1) {
      throw new IllegalArgumentException("targetLength must be at least 1, got " + targetLength);
    }
    return new RowLimits(sequenceLength, "sequence.length", vocabSize, targetLength);
  }

  /** Whether examples become pairs, for an encoder-decoder. */
  public boolean isPairs() {
    return targetTokens > 0;
  }

  /** Limits of a training run. */
  public static RowLimits ofSequence(int sequenceLength, int vocabSize) {
    return new RowLimits(sequenceLength, "sequence.length", vocabSize);
  }
}
