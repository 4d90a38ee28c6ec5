package dev.caravan.data.pack;

/**
 * How steps of pairs fill their buffers.
 *
 * @param steps the steps looked at
 * @param microBatches their micro-batches
 * @param documents their documents
 * @param sourceTokens encoder rows that are not padding
 * @param sourcePadding encoder rows that are
 * @param targetTokens decoder rows that are not padding
 * @param targetPadding decoder rows that are
 * @param targets labels that count
 */
public record PairStatistics(
    long steps,
    long microBatches,
    long documents,
    long sourceTokens,
    long sourcePadding,
    long targetTokens,
    long targetPadding,
    long targets) {
  /** The share of the encoder's rows that is padding, 0 to 1. */
  public double sourcePaddingShare() {
    return (double) sourcePadding / Math.max(1, sourceTokens + sourcePadding);
  }

  /** The share of the decoder's rows that is padding, 0 to 1. */
  public double targetPaddingShare() {
    return (double) targetPadding / Math.max(1, targetTokens + targetPadding);
  }

  /**
   * Makes the first {@code steps} steps and looks at them.
   *
   * @param steps at least 1
   */
  public static PairStatistics of(PairSource source, int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("steps must be at least 1, got " + steps);
    }
    PairStep step = source.newStep();
    long[] sums = new long[7];
    for (int s = 0; s < steps; s++) {
      source.fill(step.nextK(), step);
      sums[0] += step.microBatches();
      for (int b = 0; b < step.microBatches(); b++) {
        sums[1] += step.microBatch(b).documents();
      }
      sums[2] += step.sourceTokens();
      sums[3] += step.sourcePadding();
      sums[4] += step.targetTokens();
      sums[5] += step.targetPadding();
      sums[6] += step.targets();
    }
    return new PairStatistics(steps, sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]);
  }
}
