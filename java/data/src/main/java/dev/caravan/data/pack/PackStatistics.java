package dev.caravan.data.pack;

/**
 * How steps fill their buffers.
 *
 * @param steps the steps looked at
 * @param microBatches their buffers
 * @param documents their documents
 * @param inputTokens token rows that are not padding
 * @param targetTokens targets
 * @param paddingTokens token rows that are padding
 * @param fewestTargets the target tokens of the step that has the fewest
 */
public record PackStatistics(
    long steps,
    long microBatches,
    long documents,
    long inputTokens,
    long targetTokens,
    long paddingTokens,
    long fewestTargets) {
  /** The share of token rows that are padding, 0 to 1. */
  public double paddingShare() {
    return (double) paddingTokens / Math.max(1, inputTokens + paddingTokens);
  }

  /** Target tokens among the tokens that are not padding, 0 to 1. */
  public double targetShare() {
    return (double) targetTokens / Math.max(1, inputTokens);
  }

  /**
   * Makes the first {@code steps} steps and looks at them.
   *
   * @param steps at least 1
   */
  public static PackStatistics of(StepSource source, int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("steps must be at least 1, got " + steps);
    }
    Step step = source.newStep();
    long microBatches = 0;
    long documents = 0;
    long inputTokens = 0;
    long targetTokens = 0;
    long paddingTokens = 0;
    long fewestTargets = Long.MAX_VALUE;
    for (int s = 0; s < steps; s++) {
      source.fill(step.nextK(), step);
      microBatches += step.microBatches();
      for (int b = 0; b < step.microBatches(); b++) {
        documents += step.microBatch(b).documents();
      }
      inputTokens += step.inputTokens();
      targetTokens += step.targetTokens();
      paddingTokens += step.paddingTokens();
      fewestTargets = Math.min(fewestTargets, step.targetTokens());
    }
    return new PackStatistics(
        steps, microBatches, documents, inputTokens, targetTokens, paddingTokens, fewestTargets);
  }
}
