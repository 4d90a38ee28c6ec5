package dev.caravan.train.log;

/**
 * What an evaluation on held-out rows measured.
 *
 * @param step optimizer steps done
 * @param evalLoss mean negative log-likelihood in nats per target token
 * @param evalTargets tokens that it is the mean of
 */
public record EvalMetrics(int step, double evalLoss, long evalTargets) {}
