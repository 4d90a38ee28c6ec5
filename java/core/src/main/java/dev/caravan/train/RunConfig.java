package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.data.source.Format;
import dev.caravan.model.HfConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * A run, resolved: every key of the run file with its value or its default. Immutable; paths are
 * absolute. {@link RunFile} makes one from YAML and writes one back.
 *
 * @param model where the weights come from; required
 * @param tokenizer {@code tokenizer}: file or folder; empty (the default) means the model folder's
 * @param data what is trained on
 * @param sequence lengths and packing
 * @param train how many steps of what size
 * @param optimizer the update rule and its schedule
 * @param experts losses and limits of sparse experts
 * @param precision {@code precision}: auto by default
 * @param recompute {@code recompute}: what the backward pass computes again; auto by default
 * @param parallel how the run is spread over devices
 * @param checkpoint when weights are saved and what a restart does
 * @param eval held-out rows
 * @param output {@code output}: the run folder; runs/NAME by default, NAME being the recipe's
 * @param deterministic {@code deterministic}: same seed, plan and device give the same bits; true
 *     by default
 */
public record RunConfig(
    Model model,
    Optional<Path> tokenizer,
    Data data,
    Sequence sequence,
    Train train,
    Optimizer optimizer,
    Experts experts,
    Precision precision,
    Recompute recompute,
    Parallel parallel,
    Checkpoint checkpoint,
    Eval eval,
    Path output,
    boolean deterministic) {

  /** The same run at another precision. */
  public RunConfig withPrecision(Precision other) {
    return new RunConfig(
        model,
        tokenizer,
        data,
        sequence,
        train,
        optimizer,
        experts,
        other,
        recompute,
        parallel,
        checkpoint,
        eval,
        output,
        deterministic);
  }

  /** The same run on another number of ranks that see different examples. */
  public RunConfig withDataRanks(int ranks) {
    return new RunConfig(
        model,
        tokenizer,
        data,
        sequence,
        train,
        optimizer,
        experts,
        precision,
        recompute,
        new Parallel(
            ranks, parallel.shard, parallel.tensor, parallel.expert, parallel.expertExchange),
        checkpoint,
        eval,
        output,
        deterministic);
  }

  /** The same run with buffers of another size. */
  public RunConfig withMicroBatchTokens(int tokens) {
    Train sized =
        new Train(
            train.steps,
            train.epochs,
            train.tokensPerStep,
            train.examplesPerStep,
            OptionalInt.of(tokens),
            train.seed,
            train.shuffle);
    return new RunConfig(
        model,
        tokenizer,
        data,
        sequence,
        sized,
        optimizer,
        experts,
        precision,
        recompute,
        parallel,
        checkpoint,
        eval,
        output,
        deterministic);
  }

  /**
   * Refuses a run without data, for the verbs that read some.
   *
   * @throws UserError if no path is given
   */
  public RunConfig requireData() {
    if (data.paths().isEmpty() && data.mixture().isEmpty()) {
      throw new UserError("data.path: missing, needs a file, a folder, a glob or a list of them");
    }
    return this;
  }

  /** Where the weights come from: exactly one of a folder, a config and a named size. */
  public sealed interface Model {}

  /**
   * Trained weights.
   *
   * @param path {@code model.path}: a folder in Hugging Face layout
   */
  public record ModelFolder(Path path) implements Model {}

  /**
   * Random weights for a config.
   *
   * @param config {@code model.config}: a config.json, or its keys in place
   * @param seed {@code model.seed}: of the random weights; 0 by default
   */
  public record ModelConfig(HfConfig config, long seed) implements Model {}

  /**
   * Random weights for a published size.
   *
   * @param family {@code model.family}: llama
   * @param size {@code model.size}: 7b, 13b, 33b or 65b
   * @param seed {@code model.seed}: of the random weights; 0 by default
   */
  public record ModelSize(String family, String size, long seed) implements Model {}

  /**
   * What is trained on: paths or a mixture.
   *
   * @param paths {@code data.path}: one or several files, folders or globs; empty where a mixture
   *     is given or where the verb needs no data
   * @param format {@code data.format}: auto by default, told by ending and fields
   * @param fields {@code data.fields}: the format's field to the file's name for it; empty by
   *     default
   * @param template {@code data.template}: a bundled template's name or a file; by default the
   *     format's own
   * @param mixture {@code data.mixture}: a mixture file instead of paths
   * @param dropCopies {@code data.drop_copies}: which rows that are evaluated on are left out of
   *     training; none by default
   * @param tasks {@code data.tasks}: the mixture's tasks that alone are drawn from, or mixtures of them;
   *     all by default
   * @param cache {@code data.cache}: where tokens are kept: a folder, none, or auto, the default:
   *     the user's cache folder, for data that is large enough to be worth it
   */
  public record Data(
      List<String> paths,
      Format format,
      Map<String, String> fields,
      Optional<String> template,
      Optional<Path> mixture,
      DropCopies dropCopies,
      List<String> tasks,
      String cache) {
    /** {@code data.cache}: the user's folder. */
    public static final String CACHE_AUTO = "auto";

    /** {@code data.cache}: nothing is kept. */
    public static final String CACHE_NONE = "none";
  }

  /** Which rows that are evaluated on are left out of training. */
  public enum DropCopies {
    NONE,
    /** Those with the same words. */
    EXACT,
    /** Those that have most of an evaluation row's runs of words, too. */
    NEAR
  }

  /**
   * Lengths in tokens.
   *
   * @param length {@code sequence.length}: longest example, prompt and target; 1024 by default
   * @param targetLength {@code sequence.target_length}: longest target of an encoder-decoder; 256
   *     by default
   * @param packing {@code sequence.packing}: several examples in one buffer; true by default
   */
  public record Sequence(int length, int targetLength, boolean packing) {}

  /**
   * How long and in which steps. Exactly one of steps and epochs, and exactly one of the two sizes
   * of a step, is present.
   *
   * @param steps {@code train.steps}: optimizer steps
   * @param epochs {@code train.epochs}: passes over the data; 1 where neither is given
   * @param tokensPerStep {@code train.tokens_per_step}: input tokens of a step without padding,
   *     over all ranks; 16 x sequence.length where neither is given
   * @param examplesPerStep {@code train.examples_per_step}: examples of a step, over all ranks
   * @param microBatchTokens {@code train.micro_batch_tokens}: tokens of one buffer of one rank; by
   *     default what the plan finds
   * @param seed {@code train.seed}: of shuffling and mixing; 17 by default
   * @param shuffle {@code train.shuffle}: true by default
   */
  public record Train(
      OptionalInt steps,
      OptionalInt epochs,
      OptionalInt tokensPerStep,
      OptionalInt examplesPerStep,
      OptionalInt microBatchTokens,
      long seed,
      boolean shuffle) {}

  /**
   * The update rule.
   *
   * @param name {@code optimizer.name}: adamw by default
   * @param lr {@code optimizer.lr}: peak learning rate; 2e-5 by default
   * @param beta1 first of {@code optimizer.betas}: 0.9 by default
   * @param beta2 second of {@code optimizer.betas}: 0.95 by default
   * @param eps {@code optimizer.eps}: 1e-8 by default
   * @param weightDecay {@code optimizer.weight_decay}: on tensors of two or more dimensions; 0.1 by
   *     default
   * @param clipNorm {@code optimizer.clip_norm}: largest global L2 norm of the gradient; 1 by
   *     default, 0 switches clipping off
   * @param schedule {@code optimizer.schedule}: constant by default
   * @param warmupSteps {@code optimizer.warmup_steps}: step s up to here uses lr x s /
   *     warmup_steps; 0 by default
   * @param finalLrRatio {@code optimizer.final_lr_ratio}: where linear and cosine end, as a share
   *     of lr; 0.1 by default
   * @param moments {@code optimizer.moments}: storage of the moments; fp32 by default
   * @param grads {@code optimizer.grads}: storage of the gradients; fp32 by default
   * @param adafactor {@code optimizer.adafactor}: used by adafactor only
   */
  public record Optimizer(
      OptimizerName name,
      double lr,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      double clipNorm,
      Schedule schedule,
      int warmupSteps,
      double finalLrRatio,
      Storage moments,
      Storage grads,
      Adafactor adafactor) {}

  /** Update rules. */
  public enum OptimizerName {
    ADAMW,
    ADAFACTOR
  }

  /** How the learning rate goes on after warm-up. */
  public enum Schedule {
    CONSTANT,
    LINEAR,
    COSINE,
    INVERSE_SQRT
  }

  /** Storage of optimizer state. */
  public enum Storage {
    FP32,
    BF16
  }

  /**
   * Adafactor (Shazeer and Stern 2018).
   *
   * @param beta1 {@code beta1}: momentum; 0, none, by default
   * @param decayRate {@code decay_rate}: exponent of the second moment's decay; 0.8 by default
   * @param clipThreshold {@code clip_threshold}: largest root mean square of an update; 1 by
   *     default
   * @param scaleParameter {@code scale_parameter}: learning rate relative to the parameter's root
   *     mean square; false by default
   * @param factored {@code factored}: second moments of matrices by row and column; true by default
   */
  public record Adafactor(
      double beta1,
      double decayRate,
      double clipThreshold,
      boolean scaleParameter,
      boolean factored) {}

  /**
   * Sparse experts.
   *
   * @param auxLoss {@code experts.aux_loss}: formula of the load-balancing loss; auto by default
   * @param auxWeight {@code experts.aux_weight}: its weight; by default the formula's own
   * @param zWeight {@code experts.z_weight}: weight of the router's z-loss; 0 by default
   * @param capacityFactor {@code experts.capacity_factor}: none, dropless, by default
   * @param groupSize {@code experts.group_size}: tokens that compete for an expert's places; 0, by
   *     default, for all of a micro-batch
   * @param secondExpert {@code experts.second_expert}: which of a token's choices after the first are kept;
   *     all by default
   * @param secondThreshold {@code experts.second_threshold}: of that; 0.5, by default, is GShard's, which
   *     keeps a choice with twice its weight as probability
   */
  public record Experts(
      AuxLoss auxLoss,
      OptionalDouble auxWeight,
      double zWeight,
      OptionalDouble capacityFactor,
      int groupSize,
      SecondExpert secondExpert,
      double secondThreshold) {}

  /** Policies for choices after the first. Source: arXiv 2006.16668, algorithm 1. */
  public enum SecondExpert {
    /** Every one is kept. */
    ALL,
    /** Those whose weight is above the threshold. */
    THRESHOLD,
    /** Each with its weight over the threshold as probability. */
    RANDOM
  }

  /** Formulas of the load-balancing loss. */
  public enum AuxLoss {
    AUTO,
    NONE,
    GLAM,
    SWITCH,
    MIXTRAL,
    OLMOE
  }

  /** Arithmetic of the run; auto is fp32 on the CPU and bf16 on CUDA. */
  public enum Precision {
    AUTO,
    FP32,
    BF16
  }

  /** What the backward pass computes again instead of keeping. */
  public enum Recompute {
    AUTO,
    NONE,
    SELECTIVE,
    FULL
  }

  /**
   * How the run is spread over devices.
   *
   * @param data {@code parallel.data}: ranks that see different examples; 1 by default
   * @param shard {@code parallel.shard}: what data ranks divide among them; none by default
   * @param tensor {@code parallel.tensor}: ranks that share each matrix; 1 by default
   * @param expert {@code parallel.expert}: ranks that share the experts; divides data; 1 by default
   * @param expertExchange {@code parallel.expert_exchange}: how their tokens come to the experts; gather by
   *     default
   */
  public record Parallel(
      int data, Shard shard, int tensor, int expert, ExpertExchange expertExchange) {}

  /** How tokens come to the experts of other ranks. */
  public enum ExpertExchange {
    /** Every rank gets all tokens of the group. */
    GATHER,
    /** An all-to-all of a fixed size, which experts.capacity_factor says. */
    PADDED,
    /** An all-to-all of what there is, counted by the host. */
    EXACT
  }

  /** What data ranks divide among them. */
  public enum Shard {
    NONE,
    OPTIMIZER,
    GRADIENTS,
    PARAMETERS
  }

  /**
   * When weights are saved. The last step always writes a checkpoint.
   *
   * @param everySteps {@code checkpoint.every_steps}: 500 by default
   * @param keep {@code checkpoint.keep}: how many of the newest stay; 2 by default
   * @param resume {@code checkpoint.resume}: auto by default
   * @param from the folder, where resume names one
   * @param background {@code checkpoint.background}: whether they are written from a copy in host memory
   *     while training goes on; auto (empty) by default: on a GPU where the host has room, on the CPU not,
   *     where the copy would take memory from the run
   */
  public record Checkpoint(
      int everySteps, int keep, Resume resume, Optional<Path> from, Optional<Boolean> background) {}

  /** What a start in a folder with checkpoints does. */
  public enum Resume {
    /** Goes on from the last complete checkpoint. */
    AUTO,
    /** Starts afresh and replaces the run. */
    NEVER,
    /** Goes on from the folder that is named. */
    FOLDER
  }

  /**
   * Held-out rows, read like the training data.
   *
   * @param data {@code eval.data}: a file; no evaluation by default
   * @param everySteps {@code eval.every_steps}: 100 by default; the last step is always evaluated
   * @param exactMatch {@code eval.exact_match}: a set's name to a file of instructions with one
   *     right answer, which the model answers before the first step and after the last; none by
   *     default
   * @param exactMatchAtCheckpoints {@code eval.exact_match_at_checkpoints}: every checkpoint answers them
   *     too, with a second copy of the weights in memory; false by default
   * @param tasks {@code eval.tasks}: a held-out task's name to its file, evaluated like data, each by itself;
   *     none by default
   * @param heldOutRows {@code eval.held_out_rows}: so many rows of every held-out task of the mixture are
   *     evaluated likewise; 0, none, by default
   * @param exactMatchHeldOut {@code eval.exact_match_held_out}: these rows are answered too, like
   *     exact_match's; false by default
   */
  public record Eval(
      Optional<Path> data,
      int everySteps,
      Map<String, Path> exactMatch,
      boolean exactMatchAtCheckpoints,
      Map<String, Path> tasks,
      int heldOutRows,
      boolean exactMatchHeldOut) {
    /** Whether the model has instructions to answer. */
    public boolean asks() {
      return !exactMatch.isEmpty() || exactMatchHeldOut;
    }
  }
}
