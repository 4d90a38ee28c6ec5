package dev.caravan.data.task;

/**
 * What rows must fit.
 *
 * @param maxTokens the most tokens of a row
 * @param setting what sets that, for messages: {@code sequence.length}, {@code the model's context}
 * @param vocabSize token ids are below it
 */
public record RowLimits(int maxTokens, String setting, int vocabSize) {
  public RowLimits {
    if (maxTokens < 1) {
      throw new IllegalArgumentException("maxTokens must be at least 1, got " + maxTokens);
    }
    if (vocabSize < 1) {
      throw new IllegalArgumentException("vocabSize must be at least 1, got " + vocabSize);
    }
  }

  /** Limits of a training run. */
  public static RowLimits ofSequence(int sequenceLength, int vocabSize) {
    return new RowLimits(sequenceLength, "sequence.length", vocabSize);
  }
}
