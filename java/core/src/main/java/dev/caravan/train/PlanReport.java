package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.model.LlamaCost;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What `plan` tells of a run.
 *
 * @param paramsTotal parameters, tied ones once
 * @param paramsActive those that take part in one token
 * @param flopsPerToken model FLOPs of a training token
 * @param bytes on one device, by category
 * @param ranks that share a step's tokens
 * @param tokensPerStep input tokens of one optimizer step, over all ranks
 * @param wireBytesPerStep bytes that one device sends in a step
 * @param wireSeconds how long that takes at the machine's stated rate
 * @param stepSeconds how long a step takes at the machine's stated rates: its products at the
 *     product rate, with exchanges beside them, whichever takes longer; and then the update's
 *     traffic at the memory rate
 * @param run what the whole run takes, if it has a number of steps
 * @param published what others have reported of such a run
 */
public record PlanReport(
    long paramsTotal,
    long paramsActive,
    double flopsPerToken,
    RunPlan.Bytes bytes,
    int ranks,
    long tokensPerStep,
    long wireBytesPerStep,
    double wireSeconds,
    double stepSeconds,
    Optional<RunCost> run,
    Optional<Published> published) {
  /**
   * Reports on a plan for one device of a machine.
   *
   * @throws UserError if ranks exchange something and the machine's links are not known
   */
  public static PlanReport of(
      RunConfig config, ModelSource model, RunPlan plan, long tokensPerStep, Machine machine) {
    LlamaCost cost = new LlamaCost(model.config());
    long parameters = cost.parameters();
    double flops = cost.trainingFlopsPerToken(plan.buffers().sequenceLength());
    RunPlan.Bytes bytes = plan.bytes();
    // The update reads weights, gradients and moments, and writes all but the gradients.
    double traffic = 2.0 * (bytes.weights() + bytes.optimizer()) + bytes.gradients();
    int ranks = plan.ranks();
    long buffers =
        Math.max(1, (tokensPerStep + plan.buffers().tokens() - 1) / plan.buffers().tokens());
    long wire = plan.wireBytesPerStep((buffers + ranks - 1) / ranks);
    double rate = machine.links().bytesPerSecond(ranks);
    if (wire > 0 && rate == 0) {
      throw new UserError(
          "machine "
              + machine.name()
              + ": devices_per_node, link_bytes_per_second and network_bytes_per_second: missing, "
              + ranks
              + " devices need them");
    }
    double wireSeconds = wire == 0 ? 0 : wire / rate;
    double products = (double) tokensPerStep / ranks * flops / machine.flopsPerSecond();
    double seconds = Math.max(products, wireSeconds) + traffic / machine.bytesPerSecond();
    OptionalInt steps = config.train().steps();
    Optional<RunCost> run =
        steps.isPresent()
            ? Optional.of(RunCost.of(steps.getAsInt(), tokensPerStep, flops, parameters))
            : Optional.empty();
    return new PlanReport(
        parameters,
        cost.activeParameters(),
        flops,
        bytes,
        ranks,
        tokensPerStep,
        wire,
        wireSeconds,
        seconds,
        run,
        Published.of(config.model(), machine));
  }

  /** Input tokens per second of one device, at the stated rates. */
  public double tokensPerSecond() {
    return tokensPerStep / stepSeconds / ranks;
  }

  /** Bytes of one parameter's weight, gradient and moments together. */
  public double bytesPerParameter() {
    return (double) (bytes.weights() + bytes.gradients() + bytes.optimizer()) / paramsTotal;
  }
}
