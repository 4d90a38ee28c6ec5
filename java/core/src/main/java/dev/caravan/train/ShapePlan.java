package dev.caravan.train;

import dev.caravan.graph.Sharding;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.model.ModelShape;
import java.util.Optional;

/**
 * What a rank of a model that is known by its counts alone would take: an estimate, where {@link RunPlan}
 * is exact. Blocks are computed again in the backward part.
 *
 * @param shape of the model
 * @param config of the run
 * @param tokens of a micro-batch
 */
record ShapePlan(ModelShape shape, RunConfig config, int tokens) {
  private static final int BF16 = 2;
  private static final int F32 = 4;

  /** Logits exist for this share of a buffer's rows at once. */
  private static final int CHUNKS = 8;

  /** Bytes of weight and remainder. */
  private static final int SPLIT_MASTER = 4;

  private int ranks() {
    return config.parallel().data();
  }

  private Sharding sharding() {
    return Sharding.valueOf(config.parallel().shard().name());
  }

  /** Weights of which a rank keeps something, where that is in parts. */
  private long kept(boolean parts) {
    long weights = shape.parameters();
    return parts ? (weights + ranks() - 1) / ranks() : weights;
  }

  private int gradientBytes() {
    return config.optimizer().grads() == RunConfig.Storage.BF16 ? BF16 : F32;
  }

  RunPlan.Bytes bytes() {
    long weights =
        kept(sharding().weights()) * BF16 + kept(sharding().updates()) * (SPLIT_MASTER - BF16);
    return new RunPlan.Bytes(
        weights,
        kept(sharding().gradients()) * gradientBytes(),
        stateBytes(),
        activations(),
        windows() + (long) (tokens / CHUNKS) * shape.vocab() * (BF16 + F32));
  }

  /** Adafactor keeps a number for each row and column; AdamW two moments. */
  private long stateBytes() {
    RunConfig.Optimizer o = config.optimizer();
    long weights = kept(sharding().updates());
    if (o.name() == RunConfig.OptimizerName.ADAFACTOR) {
      long first = o.adafactor().beta1() > 0 ? F32 * weights : 0;
      long rows = 2 * F32 * weights / Math.min(shape.dModel(), shape.ffn());
      return first + (o.adafactor().factored() ? rows : F32 * weights);
    }
    return 2 * weights * (o.moments() == RunConfig.Storage.BF16 ? BF16 : F32);
  }

  /**
   * Where weights are kept in parts: the largest that is gathered, a block or the embedding, and the block
   * that is fetched meanwhile; of gradients the largest alone.
   */
  private long windows() {
    long largest = Math.max(shape.largestBlock(), shape.embedding());
    return (sharding().weights() ? BF16 * (largest + shape.largestBlock()) : 0)
        + (sharding().gradients() ? gradientBytes() * largest : 0);
  }

  /** What every block was given, and what one block makes, with its gradients. */
  private long activations() {
    long inputs = (long) shape.blocks() * tokens * shape.dModel() * BF16;
    long attention = 4L * shape.dModel() + 2L * (shape.qDim() + shape.kvDim());
    return inputs + 2 * BF16 * tokens * (attention + 3L * shape.ffn());
  }

  /**
   * Bytes that one rank sends in a step, as {@link RunPlan#wireBytesPerStep} has it.
   *
   * @param rounds micro-batches of a rank
   */
  long wireBytesPerStep(long rounds) {
    long gradients = shape.parameters() * gradientBytes();
    long gather = Collective.wireBytes(Kind.ALL_GATHER, ranks(), shape.parameters() * BF16);
    long scatter = Collective.wireBytes(Kind.REDUCE_SCATTER, ranks(), gradients);
    if (sharding().weights()) {
      return rounds * (2 * gather + scatter);
    }
    if (sharding().updates()) {
      return (sharding().gradients() ? rounds : 1) * scatter + gather;
    }
    return Collective.wireBytes(Kind.ALL_REDUCE, ranks(), gradients);
  }

  /** What a device of the machine lacks for it; empty where it fits. */
  Optional<String> misfit(Machine machine) {
    long need = bytes().total();
    return need <= machine.memoryBytes()
        ? Optional.empty()
        : Optional.of(
            "does not fit: a rank needs %s, a device of '%s' has %s"
                .formatted(
                    RunPlan.size(need), machine.name(), RunPlan.size(machine.memoryBytes())));
  }
}
