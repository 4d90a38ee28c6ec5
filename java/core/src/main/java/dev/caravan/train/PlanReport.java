package dev.caravan.train;

import dev.caravan.model.LlamaCost;

/**
 * What `plan` tells of a run.
 *
 * @param paramsTotal parameters, tied ones once
 * @param paramsActive those that take part in one token
 * @param flopsPerToken model FLOPs of a training token
 * @param bytes on one device, by category
 * @param tokensPerStep input tokens of one optimizer step
 * @param wireBytesPerStep bytes that one device sends in a step
 * @param stepSeconds how long a step takes at the machine's stated rates: its products at the product
 *     rate, and then the update's traffic at the memory rate
 */
public record PlanReport(
    long paramsTotal,
    long paramsActive,
    double flopsPerToken,
    RunPlan.Bytes bytes,
    long tokensPerStep,
    long wireBytesPerStep,
    double stepSeconds) {
  /** Reports on a plan for one device of a machine. */
  public static PlanReport of(
      ModelSource model, RunPlan plan, long tokensPerStep, Machine machine) {
    LlamaCost cost = new LlamaCost(model.config());
    long parameters = cost.parameters();
    double flops = cost.trainingFlopsPerToken(plan.buffers().sequenceLength());
    RunPlan.Bytes bytes = plan.bytes();
    // The update reads weights, gradients and moments, and writes all but the gradients.
    double traffic = 2.0 * (bytes.weights() + bytes.optimizer()) + bytes.gradients();
    double seconds =
        tokensPerStep * flops / machine.flopsPerSecond() + traffic / machine.bytesPerSecond();
    long buffers = Math.max(1, (tokensPerStep + plan.buffers().tokens() - 1) / plan.buffers().tokens());
    long ranks = plan.ranks();
    long wire = plan.wireBytesPerStep((buffers + ranks - 1) / ranks);
    return new PlanReport(
        parameters, parameters, flops, bytes, tokensPerStep, wire, seconds);
  }

  /** Bytes of one parameter's weight, gradient and moments together. */
  public double bytesPerParameter() {
    return (double) (bytes.weights() + bytes.gradients() + bytes.optimizer()) / paramsTotal;
  }
}
