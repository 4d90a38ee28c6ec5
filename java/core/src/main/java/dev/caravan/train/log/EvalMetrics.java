package dev.caravan.train.log;

/**
 * What an evaluation on held-out rows measured.
 *
 * @param task the held-out task's name; empty for the rows of eval.data
 * @param step optimizer steps done
 * @param evalLoss mean negative log-likelihood in nats per target token
 * @param evalTargets tokens that it is the mean of
 */
public record EvalMetrics(String task, int step, double evalLoss, long evalTargets) {
  /** Of the rows of eval.data. */
  public EvalMetrics(int step, double evalLoss, long evalTargets) {
    this("", step, evalLoss, evalTargets);
  }
}
