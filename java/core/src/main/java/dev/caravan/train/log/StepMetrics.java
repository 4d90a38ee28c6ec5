package dev.caravan.train.log;

import java.util.Optional;

/**
 * What one optimizer step measured.
 *
 * @param step from 1
 * @param loss mean negative log-likelihood in nats per target token over the whole step, before the
 *     update; the likelihood alone, without auxiliary losses
 * @param gradNorm global L2 norm of the gradient before clipping, tied weights once
 * @param lr learning rate of the update
 * @param targetTokens tokens that the loss is the mean of, over all ranks
 * @param inputTokens tokens read, without padding, over all ranks
 * @param tokensPerS input tokens per second
 * @param seconds the step's wall time
 * @param dataWaitS seconds of it spent waiting for data
 * @param hostPeakBytes most host memory allocated so far
 * @param devicePeakBytes most device memory allocated so far; 0 on the CPU
 * @param experts what the sparse layers did, where there are any
 */
public record StepMetrics(
    int step,
    double loss,
    double gradNorm,
    double lr,
    long targetTokens,
    long inputTokens,
    double tokensPerS,
    double seconds,
    double dataWaitS,
    long hostPeakBytes,
    long devicePeakBytes,
    Optional<ExpertMetrics> experts) {
  /** Of a model without sparse experts. */
  public StepMetrics(
      int step,
      double loss,
      double gradNorm,
      double lr,
      long targetTokens,
      long inputTokens,
      double tokensPerS,
      double seconds,
      double dataWaitS,
      long hostPeakBytes,
      long devicePeakBytes) {
    this(
        step,
        loss,
        gradNorm,
        lr,
        targetTokens,
        inputTokens,
        tokensPerS,
        seconds,
        dataWaitS,
        hostPeakBytes,
        devicePeakBytes,
        Optional.empty());
  }
}
