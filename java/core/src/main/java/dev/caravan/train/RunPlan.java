package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Graph;
import dev.caravan.graph.Grid;
import dev.caravan.graph.Plan;
import dev.caravan.graph.Recompute;
import dev.caravan.graph.Shard;
import dev.caravan.graph.Sharding;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.StepState;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.LlamaCost;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.model.LlamaWeights;
import dev.caravan.nn.Inputs;
import dev.caravan.optim.ClipNorm;
import dev.caravan.optim.SharedGradients;
import dev.caravan.parallel.Mesh;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What a training run needs on one device, to the byte, before anything is allocated.
 *
 * @param graphs the model's graphs
 * @param buffers shape of the packed buffers
 * @param recompute what the backward computes again
 * @param inputs what the host writes for each buffer
 * @param plan the memory plan of training and evaluation together
 * @param ranks that see different examples
 * @param updateWire bytes that one rank sends in a step for the optimizer's own sums
 * @param bytes by category, of one rank
 */
public record RunPlan(
    LlamaGraphs graphs,
    BufferShape buffers,
    Recompute.Policy recompute,
    Inputs inputs,
    Plan plan,
    int ranks,
    long updateWire,
    Bytes bytes) {
  /** Name of the evaluation unit. */
  public static final String EVAL = "eval";

  /** Stack and scratch of each CPU thread: CARAVAN_CPU_SCRATCH_BYTES. */
  private static final long SCRATCH_BYTES = 4L << 20;

  /** Times as many ranks as there are that are looked at when a plan does not fit. */
  private static final int MOST_TIMES = 64;

  /** Logits exist for this share of a buffer's rows at once. */
  private static final int CHUNKS = 8;

  /**
   * Every byte that Caravan allocates on the device.
   *
   * @param weights parameters, remainders of split masters included
   * @param gradients float32 sums over a step
   * @param optimizer moments
   * @param activations most bytes of activations alive at once
   * @param workspace temporaries, inputs, tables, scratch; host memory only where the device is the CPU
   */
  public record Bytes(
      long weights, long gradients, long optimizer, long activations, long workspace) {
    /** All together. */
    public long total() {
      return weights + gradients + optimizer + activations + workspace;
    }
  }

  /** Plans one policy. */
  static RunPlan of(
      DecoderConfig model,
      RunConfig config,
      DType storage,
      BufferShape buffers,
      Recompute.Policy recompute,
      Device.Kind kind,
      int threads) {
    LlamaGraphs graphs =
        new LlamaGraphs(
            model,
            storage,
            buffers.sequenceLength(),
            ExpertSettings.losses(config, model),
            ExpertSettings.exchange(config));
    int tokens = buffers.tokens();
    int chunk = (tokens + CHUNKS - 1) / CHUNKS;
    Map<String, Graph> units = new LinkedHashMap<>();
    int ranks = config.parallel().data();
    Sharding sharding = Sharding.valueOf(config.parallel().shard().name());
    Mesh mesh = ExpertSettings.mesh(config.parallel());
    Grid grid = grid(graphs, mesh, config, tokens);
    Graph micro = graphs.train(tokens, buffers.maxDocuments(), chunk, recompute, mesh);
    Graph sharded = Shard.apply(micro, ranks, sharding, grid.experts());
    boolean always = ranks > 1 && sharding.gradients(); // whole gradients travel once a step
    units.put(TrainingStep.MICRO, always ? sharded : micro);
    if (ranks > 1 && !always) {
      units.put(TrainingStep.LAST, sharded);
    }
    Graph score = graphs.score(tokens, buffers.maxDocuments(), chunk, mesh);
    units.put(EVAL, Shard.apply(score, ranks, sharding, grid.experts()));
    Plan plan =
        new Plan(
            units,
            kind,
            sharding,
            ranks,
            Optimizers.needsWholeWeights(config.optimizer()),
            grid);
    Inputs inputs = Inputs.packed(new Graph(), tokens, buffers.maxDocuments());
    return new RunPlan(
        graphs,
        buffers,
        recompute,
        inputs,
        plan,
        ranks,
        Optimizers.wireBytes(config.optimizer(), plan.weights()),
        bytes(plan, config, kind, threads));
  }

  private static Grid grid(LlamaGraphs graphs, Mesh mesh, RunConfig config, int tokens) {
    if (mesh.expert() > 1) {
      ExpertSettings.checkRanks(mesh, graphs.config());
      ExpertSettings.checkGroups(config, tokens);
    }
    try {
      return graphs.grid(mesh);
    } catch (IllegalArgumentException e) {
      throw new UserError("parallel.tensor: got " + mesh.tensor() + ", " + e.getMessage(), e);
    }
  }

  private static Bytes bytes(Plan plan, RunConfig config, Device.Kind kind, int threads) {
    long activations = plan.activationBytes();
    boolean onHost = kind == Device.Kind.CPU; // where the host's own buffers count as the device's
    long host = onHost ? InputBuffer.hostBytes(plan, kind) + StepState.hostBytes() : 0;
    long staging = InputBuffer.deviceBytes(plan, kind);
    long scratch = kind == Device.Kind.CPU ? threads * SCRATCH_BYTES : 0;
    boolean copies = onHost && config.checkpoint().background().orElse(false);
    long copy = copies ? copyBytes(plan, config, kind, true) : 0;
    return new Bytes(
        plan.weightBytes(),
        plan.gradientBytes(),
        Optimizers.stateBytes(config.optimizer(), plan.weights(), kind),
        activations,
        plan.arenaBytes()
            - activations
            + plan.leafBytes()
            + host
            + staging
            + scratch
            + copy
            + GatherWindow.bytes(plan)
            + ClipNorm.bytes(plan.weights(), kind));
  }

  /** Whether tensor-parallel ranks have some of the vocabulary each. */
  boolean dividesVocabulary() {
    return plan.weights().grid().tensor().cuts(LlamaWeights.EMBEDDING);
  }

  /**
   * Bytes of host memory from which a rank writes checkpoints in the background.
   *
   * @param first whether it is the first rank, which writes the weights
   */
  static long copyBytes(Plan plan, RunConfig config, Device.Kind kind, boolean first) {
    long weights = first ? GatheredWeights.bytes(plan) : 0;
    return weights
        + plan.remainderBytes()
        + Optimizers.stateBytes(config.optimizer(), plan.weights(), kind);
  }

  /**
   * Bytes that one rank sends in a step. Whole gradients travel once, whatever the micro-batches; parts
   * of gradients and weights, and activations and statistics, in each of them.
   *
   * @param rounds micro-batches of a rank
   */
  public long wireBytesPerStep(long rounds) {
    return wirePerStep(rounds).values().stream().mapToLong(Long::longValue).sum();
  }

  /** The same to the others of each group, if all buffers are full of targets. */
  Map<Axis, Long> wirePerStep(long rounds) {
    Plan.Unit micro = plan.units().get(TrainingStep.MICRO);
    Plan.Unit last = plan.units().getOrDefault(TrainingStep.LAST, micro);
    Map<Axis, Long> wire = new EnumMap<>(Axis.class);
    micro.wire().forEach((axis, bytes) -> wire.merge(axis, (rounds - 1) * bytes, Long::sum));
    last.wire().forEach((axis, bytes) -> wire.merge(axis, bytes, Long::sum));
    FlatLayout layout = plan.weights();
    wire.merge(Axis.TENSOR, SharedGradients.wireBytes(layout) + updateWire, Long::sum);
    ClipNorm.countWire(layout, wire);
    if (plan.sharding().updates() && !plan.sharding().weights()) {
      for (FlatLayout.Bucket bucket : layout.buckets()) {
        long whole = bucket.elements() * plan.storage().bytes();
        long bytes = Collective.wireBytes(Collective.Kind.ALL_GATHER, bucket.parts(), whole);
        wire.merge(bucket.axis(), bytes, Long::sum);
      }
    }
    wire.values().removeIf(bytes -> bytes == 0);
    return wire;
  }

  /** Storage that the run file's precision means on a device. */
  public static DType storage(RunConfig.Precision precision, Device.Kind kind) {
    return switch (precision) {
      case AUTO -> kind == Device.Kind.CPU ? DType.F32 : DType.BF16;
      case FP32 -> DType.F32;
      case BF16 -> DType.BF16;
    };
  }

  /**
   * The plan of a run file: with {@code recompute: auto} the cheapest policy that fits.
   *
   * @param buffers shape of the packed buffers
   * @param available bytes of memory that the device has for it
   * @throws UserError if it does not fit, with what it needs and what would fit
   */
  public static RunPlan choose(
      DecoderConfig model,
      RunConfig config,
      BufferShape buffers,
      Device.Kind kind,
      int threads,
      long available) {
    DType storage = storage(config.precision(), kind);
    Recompute.Policy[] policies = policies(config.recompute(), model.layers());
    RunPlan last = of(model, config, storage, buffers, policies[0], kind, threads);
    if (last.bytes.total() <= available) {
      return last;
    }
    // Each policy needs no more memory than the one before, so the first that fits is found by halves;
    // the last policy is tried first, because often nothing fits.
    RunPlan fits = null;
    int low = 1;
    int high = policies.length - 1;
    for (int i = high; low <= high; i = (low + high) / 2) {
      last = of(model, config, storage, buffers, policies[i], kind, threads);
      if (last.bytes.total() <= available) {
        fits = last;
        high = i - 1;
      } else {
        low = i + 1;
      }
    }
    if (fits != null) {
      return fits;
    }
    throw new UserError(
        "the plan needs "
            + size(last.bytes.total())
            + " of memory, the device has "
            + size(available)
            + " for it; "
            + advice(model, config, buffers, kind, threads, available)
            + "; "
            + counts(model, buffers.sequenceLength()));
  }

  /** What is known of a model that does not fit. */
  private static String counts(DecoderConfig model, int sequence) {
    LlamaCost cost = new LlamaCost(model);
    return String.format(
        Locale.ROOT,
        "it has %.4g parameters, %.4g of them active, and takes %.4g FLOPs a token",
        (double) cost.parameters(),
        (double) cost.activeParameters(),
        cost.trainingFlopsPerToken(sequence));
  }

  private static Recompute.Policy[] policies(RunConfig.Recompute wish, int layers) {
    return switch (wish) {
      case NONE -> new Recompute.Policy[] {Recompute.Policy.NONE};
      case SELECTIVE -> new Recompute.Policy[] {Recompute.Policy.SELECTIVE};
      case FULL -> new Recompute.Policy[] {Recompute.Policy.FULL};
      case AUTO -> {
        Recompute.Policy[] all = new Recompute.Policy[layers + 2];
        all[0] = Recompute.Policy.NONE;
        for (int blocks = 0; blocks <= layers; blocks++) {
          all[blocks + 1] = new Recompute.Policy(true, blocks);
        }
        yield all;
      }
    };
  }

  /** The nearest change that fits, found by planning it. */
  private static String advice(
      DecoderConfig model,
      RunConfig config,
      BufferShape buffers,
      Device.Kind kind,
      int threads,
      long available) {
    for (DType storage : new DType[] {storage(config.precision(), kind), DType.BF16}) {
      for (int tokens = buffers.tokens();
          tokens >= buffers.sequenceLength();
          tokens = tokens > buffers.sequenceLength()
              ? Math.max(buffers.sequenceLength(), tokens / 2)
              : 0) {
        BufferShape smaller =
            BufferShape.of(
                tokens, buffers.sequenceLength(), buffers.packing(), 1, buffers.padId());
        RunPlan plan =
            of(model, config, storage, smaller, Recompute.Policy.FULL, kind, threads);
        if (plan.bytes.total() <= available) {
          return "recompute=full, train.micro_batch_tokens="
              + tokens
              + (storage == DType.BF16 ? ", precision=bf16" : "")
              + " would need "
              + size(plan.bytes.total());
        }
      }
    }
    return moreRanks(model, config, buffers, kind, threads, available)
        .orElse("a shorter sequence.length or a smaller model would fit");
  }

  /** How many ranks that keep parts would hold it, where that is what lacks. */
  private static Optional<String> moreRanks(
      DecoderConfig model,
      RunConfig config,
      BufferShape buffers,
      Device.Kind kind,
      int threads,
      long available) {
    boolean parts = config.parallel().shard() != RunConfig.Shard.NONE && kind == Device.Kind.CUDA;
    int now = config.parallel().data();
    for (int ranks = 2 * now; parts && ranks <= MOST_TIMES * now; ranks *= 2) {
      RunPlan plan =
          of(
              model,
              config.withDataRanks(ranks),
              storage(config.precision(), kind),
              buffers,
              Recompute.Policy.FULL,
              kind,
              threads);
      if (plan.bytes.total() <= available) {
        return Optional.of(
            "recompute=full, parallel.data=%d would need %s on each"
                .formatted(ranks, size(plan.bytes.total())));
      }
    }
    return Optional.empty();
  }

  /** An amount of memory in a unit that shows it. */
  static String size(long bytes) {
    int unit = bytes >= 1L << 30 ? 30 : bytes >= 1L << 20 ? 20 : 10;
    String name = unit == 30 ? "GiB" : unit == 20 ? "MiB" : "KiB";
    return String.format(Locale.ROOT, "%.2f %s", bytes / (double) (1L << unit), name);
  }
}
