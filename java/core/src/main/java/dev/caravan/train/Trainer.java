package dev.caravan.train;

import dev.caravan.checkpoint.CheckpointContents;
import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.checkpoint.TrainerState;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Native;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.nn.Inputs;
import dev.caravan.tensor.TensorType;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.StepMetrics;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/**
 * The training loop: steps from where the run folder stands to the last one, with evaluation and
 * checkpoints on the way. It computes and saves; what is shown or logged is the listener's.
 */
public final class Trainer implements AutoCloseable {
  /** Hears what happens. All calls come from the training thread. */
  public interface Listener {
    /** A step is done. */
    default void step(StepMetrics metrics) {}

    /** The held-out rows were evaluated. */
    default void evaluated(EvalMetrics metrics) {}

    /** A checkpoint is complete. */
    default void saved(int step, Path folder) {}
  }

  /** How a run ended. */
  public enum End {
    /** The last step is done and saved. */
    COMPLETE,
    /** Asked to stop; the last step done is saved. */
    STOPPED
  }

  /**
   * Held-out rows.
   *
   * @param source every row once, in order
   * @param rows how many
   * @param everySteps how often; 0 = after the last step only
   */
  public record HeldOut(StepSource source, long rows, int everySteps) {}

  private final RunConfig config;
  private final ModelSource model;
  private final StepSource source;
  private final int steps;
  private final Executor executor;
  private final StepState state;
  private final TrainingStep training;
  private final LearningRate rate;
  private final Evaluation evaluation;
  private final int evaluateEvery;
  private final Step examples;
  private final Map<String, Long> counts = new LinkedHashMap<>();
  private int done;
  private long nextExample;

  /**
   * Allocates what the plan says and fills the weights.
   *
   * @param source the examples
   * @param steps of the whole run
   * @param stream of the device to train on; stays open
   */
  public Trainer(
      RunConfig config,
      ModelSource model,
      RunPlan plan,
      StepSource source,
      Optional<HeldOut> heldOut,
      int steps,
      Stream stream) {
    this.config = config;
    this.model = model;
    this.source = source;
    this.steps = steps;
    RunConfig.Optimizer o = config.optimizer();
    executor = new Executor(plan.plan(), stream);
    TensorType stateType = TensorType.bytes(Inputs.STATE_BYTES);
    state = new StepState(executor.leaf(Inputs.STATE, stateType));
    Inputs in = plan.inputs();
    training =
        new TrainingStep(
            executor,
            in,
            state,
            Optimizers.create(o, executor, state.ref()),
            config.train().seed(),
            o.clipNorm());
    rate = new LearningRate(o.lr(), o.schedule(), o.warmupSteps(), o.finalLrRatio(), steps);
    evaluation =
        heldOut.map(h -> new Evaluation(executor, in, state, h.source(), h.rows())).orElse(null);
    evaluateEvery = heldOut.map(HeldOut::everySteps).orElse(0);
    examples = source.newStep();
    counts.put("input_tokens", 0L);
    counts.put("target_tokens", 0L);
    model.load(executor, plan.graphs().positions());
  }

  /** Steps that are done. */
  public int done() {
    return done;
  }

  /** Goes on from a checkpoint: weights, moments and the place in the data. */
  public void resume(SavedCheckpoint saved) {
    TrainerState from = saved.state();
    try (Safetensors weights = saved.weights()) {
      model.load(executor, weights, saved.folder().toString());
    }
    trainerTensors()
        .forEach(
            (name, tensors) -> {
              try (Safetensors file = saved.trainer(name)) {
                tensors.forEach(file::read);
              }
            });
    done = from.step();
    nextExample = from.nextExample();
    counts.putAll(from.counts());
  }

  /**
   * Trains to the last step.
   *
   * @param stop asked after every step; true ends the run with a checkpoint
   * @throws NonFinite before an update that would not be finite
   */
  public End run(RunFolder folder, Listener listener, BooleanSupplier stop) {
    while (done < steps) {
      listener.step(step());
      boolean last = done == steps;
      boolean stopped = !last && stop.getAsBoolean();
      if (evaluation != null && (last || due(evaluateEvery))) {
        Evaluation.Result held = evaluation.run();
        listener.evaluated(new EvalMetrics(done, held.loss(), held.targets()));
      }
      if (last || stopped || due(config.checkpoint().everySteps())) {
        listener.saved(done, save(folder));
      }
      if (stopped) {
        return End.STOPPED;
      }
    }
    return End.COMPLETE;
  }

  private boolean due(int every) {
    return every > 0 && done % every == 0;
  }

  /**
   * Trains one step, saves and evaluates nothing.
   *
   * @throws NonFinite before an update that would not be finite
   */
  public StepMetrics step() {
    long began = System.nanoTime();
    int number = done + 1;
    source.fill(nextExample, examples);
    double waited = (System.nanoTime() - began) * 1e-9;
    double lr = rate.at(number);
    TrainingStep.Result result = training.run(number, examples, lr);
    if (!result.finite()) {
      throw NonFinite.of(number, training.locate(number, examples, lr));
    }
    done = number;
    nextExample = examples.nextK();
    counts.merge("input_tokens", examples.inputTokens(), Long::sum);
    counts.merge("target_tokens", examples.targetTokens(), Long::sum);
    double seconds = (System.nanoTime() - began) * 1e-9;
    return new StepMetrics(
        number,
        result.loss(),
        result.gradNorm(),
        lr,
        examples.targetTokens(),
        examples.inputTokens(),
        examples.inputTokens() / seconds,
        seconds,
        waited,
        PeakMemory.hostBytes(),
        PeakMemory.deviceBytes());
  }

  private Path save(RunFolder folder) {
    executor.stream().synchronize();
    TrainerState trainer =
        new TrainerState(
            done,
            nextExample,
            done,
            config.train().seed(),
            examples.shape().tokens(),
            counts,
            RunConfigWriter.hash(config),
            Native.abiVersion(),
            executor.stream().device().toString(),
            executor.stream().threads());
    CheckpointContents contents =
        new CheckpointContents(
            model.hf().toJson(ModelSource.stored(executor.plan().storage()).torchName()),
            ModelSource.named(executor),
            trainerTensors(),
            trainer,
            CheckpointContents.companionsOf(model.folder(), config.tokenizer()));
    return folder.checkpoints().save(contents, config.checkpoint().keep());
  }

  /** What a checkpoint holds beside the model: moments, and the lower halves of split weights. */
  private Map<String, List<NamedTensor>> trainerTensors() {
    Map<String, List<NamedTensor>> files = new LinkedHashMap<>();
    training.optimizer().state().forEach((name, tensors) -> files.put(name, named(tensors)));
    if (executor.remainders() != null) {
      Map<String, TensorRef> remainders = new LinkedHashMap<>();
      for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
        remainders.put(slot.name(), executor.remainder(slot.name()));
      }
      files.put("remainder", named(remainders));
    }
    return files;
  }

  private static List<NamedTensor> named(Map<String, TensorRef> tensors) {
    List<NamedTensor> named = new ArrayList<>();
    tensors.forEach((name, tensor) -> named.add(ModelSource.named(name, tensor)));
    return named;
  }

  /** Frees all memory of the run. */
  @Override
  public void close() {
    if (evaluation != null) {
      evaluation.close();
    }
    training.close();
    state.close();
    executor.close();
  }
}
