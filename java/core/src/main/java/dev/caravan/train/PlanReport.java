package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.LlamaCost;
import dev.caravan.model.ModelShape;
import dev.caravan.parallel.Mesh;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.LongFunction;

/**
 * What `plan` tells of a run.
 *
 * @param paramsTotal parameters, tied ones once
 * @param paramsActive those that take part in one token
 * @param flopsPerToken model FLOPs of a training token
 * @param bytes on one device, by category
 * @param ranks that share a step's tokens
 * @param tokensPerStep input tokens of one optimizer step, over all ranks
 * @param exchanges what one device sends in a step, by group
 * @param stepSeconds how long a step takes at the machine's stated rates: its products, those that
 *     are computed again too, at the product rate, with exchanges of weights and gradients beside them,
 *     whichever takes longer; those that the next product waits for; and the update's traffic at the memory
 *     rate
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
    List<Exchange> exchanges,
    double stepSeconds,
    Optional<RunCost> run,
    Optional<Published> published) {
  /**
   * What one device sends to the others of a group in a step.
   *
   * @param axis which group
   * @param ranks in it
   * @param bytes sent
   * @param bytesPerSecond stated rate of the links between them
   */
  public record Exchange(Axis axis, int ranks, long bytes, double bytesPerSecond) {
    /** How long it takes. */
    public double seconds() {
      return bytes / bytesPerSecond;
    }

    /** Whether a step's products go on meanwhile: weights and gradients travel beside them. */
    boolean beside() {
      return axis == Axis.DATA || axis == Axis.REPLICA;
    }

    private static Exchange of(Axis axis, long bytes, Mesh mesh, Machine machine) {
      List<Integer> group = mesh.group(axis, 0);
      int stride = group.size() == 1 ? 1 : group.get(1) - group.get(0);
      double rate = machine.links().bytesPerSecond(mesh.size(), stride, group.size());
      if (rate == 0) {
        throw new UserError(
            "machine "
                + machine.name()
                + ": devices_per_node, link_bytes_per_second and network_bytes_per_second: missing, "
                + mesh.size()
                + " devices need them");
      }
      return new Exchange(axis, group.size(), bytes, rate);
    }
  }

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
    double vocabulary = plan.dividesVocabulary() ? 0 : flops - blocks;
    double again = blocks / 3 * Math.min(plan.recompute().blocks(), shape.layers()) / shape.layers();
    return of(
        config,
        new Needs(
            cost.parameters(),
            cost.activeParameters(),
            flops,
            again,
            vocabulary + cost.routingFlopsPerToken(),
            plan.bytes(),
            plan.buffers().tokens(),
            false,
            plan::wirePerStep),
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
            rounds -> Map.of(Axis.DATA, plan.wireBytesPerStep(rounds))),
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
   * @param undivided FLOPs of a token that each tensor-parallel rank computes: those of routers, and of a
   *     vocabulary that is no multiple of them
   * @param micro tokens of a buffer
   * @param pairs whether a token passes an encoder or a decoder
   * @param wire bytes that a rank sends to each group in a step of so many buffers
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
      LongFunction<Map<Axis, Long>> wire) {}

  private static PlanReport of(
      RunConfig config, Needs needs, long tokensPerStep, Machine machine) {
    RunPlan.Bytes bytes = needs.bytes();
    // The update reads weights, gradients and moments, and writes all but the gradients.
    double traffic = 2.0 * (bytes.weights() + bytes.optimizer()) + bytes.gradients();
    int data = config.parallel().data();
    Mesh mesh = ExpertSettings.mesh(config.parallel());
    long buffers = Math.max(1, (tokensPerStep + needs.micro() - 1) / needs.micro());
    List<Exchange> exchanges =
        needs.wire().apply((buffers + data - 1) / data).entrySet().stream()
            .filter(entry -> entry.getValue() > 0)
            .map(entry -> Exchange.of(entry.getKey(), entry.getValue(), mesh, machine))
            .toList();
    double beside =
        exchanges.stream().filter(Exchange::beside).mapToDouble(Exchange::seconds).sum();
    double waited = exchanges.stream().mapToDouble(Exchange::seconds).sum() - beside;
    double ofRank =
        (needs.flops() + needs.again() - needs.undivided()) / config.parallel().tensor()
            + needs.undivided();
    double products = (double) tokensPerStep / data * ofRank / machine.flopsPerSecond();
    double seconds = Math.max(products, beside) + waited + traffic / machine.bytesPerSecond();
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
        mesh.size(),
        tokensPerStep,
        exchanges,
        seconds,
        run,
        Published.of(config.model(), machine));
  }

  /** Bytes that one device sends in a step. */
  public long wireBytesPerStep() {
    return exchanges.stream().mapToLong(Exchange::bytes).sum();
  }

  /** How long they take at the machine's stated rates, one behind the other. */
  public double wireSeconds() {
    return exchanges.stream().mapToDouble(Exchange::seconds).sum();
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
