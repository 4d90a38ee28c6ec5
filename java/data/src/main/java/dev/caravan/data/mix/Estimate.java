package dev.caravan.data.mix;

import java.util.stream.IntStream;

/**
 * Lengths of a mixture's examples, from some rows of every task, spread evenly over it: a pure
 * function of the data, so that a run that goes on plans as it did before.
 *
 * @param tokens mean tokens of a row, by task
 * @param targets mean target tokens of a row, by task
 * @param exemplars mean number before a row, by task
 * @param exemplarsLeftOut share of the exemplars for which there was no room, by task
 * @param shortest half of the shortest row, at least 2
 * @param tokensPerExample mean over the mixture
 * @param targetsPerExample mean over the mixture
 */
record Estimate(
    double[] tokens,
    double[] targets,
    double[] exemplars,
    double[] exemplarsLeftOut,
    int shortest,
    double tokensPerExample,
    double targetsPerExample) {
  private static final int ROWS = 8192;
  private static final int FEWEST = 4;
  private static final int MOST = 64;

  static Estimate of(TaskRows[] tasks, double[] rates) {
    int each = Math.max(FEWEST, Math.min(MOST, ROWS / tasks.length));
    double[] tokens = new double[tasks.length];
    double[] targets = new double[tasks.length];
    double[] exemplars = new double[tasks.length];
    double[] leftOut = new double[tasks.length];
    int[] shortest = new int[tasks.length];
    IntStream.range(0, tasks.length)
        .parallel()
        .forEach(
            t -> {
              long rows = Math.min(each, tasks[t].size());
              shortest[t] = Integer.MAX_VALUE;
              for (long i = 0; i < rows; i++) {
                Block.Encoded row = tasks[t].encode(i * tasks[t].size() / rows, 0);
                tokens[t] += (double) row.length() / rows;
                targets[t] += (double) row.targetTokens() / rows;
                if (row.length() > 0) {
                  shortest[t] = Math.min(shortest[t], row.length());
                }
              }
              tasks[t]
                  .fewShot()
                  .ifPresent(
                      shots -> {
                        exemplars[t] = (double) shots.kept() / rows;
                        leftOut[t] =
                            (double) shots.leftOut() / Math.max(1, shots.kept() + shots.leftOut());
                      });
            });
    double perExample = 0;
    double targetsPerExample = 0;
    int least = Integer.MAX_VALUE;
    for (int t = 0; t < tasks.length; t++) {
      perExample += rates[t] * tokens[t];
      targetsPerExample += rates[t] * targets[t];
      least = rates[t] > 0 ? Math.min(least, shortest[t]) : least;
    }
    int half = least == Integer.MAX_VALUE ? 2 : Math.max(2, least / 2);
    return new Estimate(tokens, targets, exemplars, leftOut, half, perExample, targetsPerExample);
  }
}
