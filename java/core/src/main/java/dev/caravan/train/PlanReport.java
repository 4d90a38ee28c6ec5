package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.LlamaCost;
import dev.caravan.model.ModelShape;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.LongUnaryOperator;

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
 * @param stepSeconds how long a step takes at the machine's stated rates: its products, those that
 *     are computed again too, at the product rate, with exchanges beside them, whichever takes
 *     longer; and then the update's traffic at the memory rate
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
    double flops = cost.trainingFlopsPerToken(plan.buffers().sequenceLength());
    DecoderConfig shape = model.config();
    double blocks = flops - outputFlops(shape.vocab(), shape.dModel());
    double again = blocks / 3 * Math.min(plan.recompute().blocks(), shape.layers()) / shape.layers();
    return of(
        config,
        new Needs(
            cost.parameters(),
            cost.activeParameters(),
            flops,
            again,
            plan.dividesVocabulary() ? 0 : flops - blocks,
            plan.bytes(),
            plan.buffers().tokens(),
            false,
            plan::wireBytesPerStep),
        tokensPerStep,
        machine);
  }

  /** The same of a model that is known by its counts. */
  static PlanReport of(RunConfig config, ShapePlan plan, long tokensPerStep, Machine machine) {
    ModelShape shape = plan.shape();
    int length = config.sequence().length();
    int target = config.sequence().targetLength();
    double flops = shape.trainingFlopsPerToken(length, target);
    double again = (flops - shape.outputFlopsPerToken(length, target)) / 3;
    return of(
        config,
        new Needs(
            shape.parameters(),
            shape.parameters(),
            flops,
            again,
            0,
            plan.bytes(),
            plan.tokens(),
            shape.isEncoderDecoder(),
            plan::wireBytesPerStep),
        tokensPerStep,
        machine);
  }

  /** Training FLOPs of the output projection, which is never computed again. */
  private static double outputFlops(int vocab, int dModel) {
    return 6.0 * vocab * dModel;
  }

  /**
   * What a report is made from.
   *
   * @param again FLOPs of a token that are computed a second time
   * @param undivided FLOPs of a token that each tensor-parallel rank computes: those of a vocabulary that is
   *     no multiple of them
   * @param micro tokens of a buffer
   * @param pairs whether a token passes an encoder or a decoder
   * @param wire bytes that a rank sends in a step of so many buffers
   */
  private record Needs(
      long parameters,
      long active,
      double flops,
      double again,
      double undivided,
      RunPlan.Bytes bytes,
      int micro,
      boolean pairs,
      LongUnaryOperator wire) {}

  private static PlanReport of(
      RunConfig config, Needs needs, long tokensPerStep, Machine machine) {
    RunPlan.Bytes bytes = needs.bytes();
    // The update reads weights, gradients and moments, and writes all but the gradients.
    double traffic = 2.0 * (bytes.weights() + bytes.optimizer()) + bytes.gradients();
    int data = config.parallel().data();
    int ranks = data * config.parallel().tensor();
    long buffers = Math.max(1, (tokensPerStep + needs.micro() - 1) / needs.micro());
    long wire = needs.wire().applyAsLong((buffers + data - 1) / data);
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
    double ofRank =
        (needs.flops() + needs.again() - needs.undivided()) / config.parallel().tensor()
            + needs.undivided();
    double products = (double) tokensPerStep / data * ofRank / machine.flopsPerSecond();
    double seconds = Math.max(products, wireSeconds) + traffic / machine.bytesPerSecond();
    OptionalInt steps = config.train().steps();
    Optional<RunCost> run =
        steps.isPresent()
            ? Optional.of(
                RunCost.of(
                    steps.getAsInt(),
                    tokensPerStep,
                    needs.flops(),
                    needs.active(),
                    needs.pairs()))
            : Optional.empty();
    return new PlanReport(
        needs.parameters(),
        needs.active(),
        needs.flops(),
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
