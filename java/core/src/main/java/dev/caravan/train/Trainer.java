package dev.caravan.train;

import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.checkpoint.TrainerState;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Executor;
import dev.caravan.graph.LaunchMode;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Native;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.nn.Inputs;
import dev.caravan.parallel.RankFailure;
import dev.caravan.tensor.TensorType;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.StepMetrics;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;

/**
 * The training loop: steps from where the run folder stands to the last one, with evaluation and
 * checkpoints on the way. It computes and saves; what is shown or logged is the listener's.
 */
public final class Trainer implements AutoCloseable {
  /** As whose loss the unweighted mean over the tasks' is told. */
  static final String MEAN_OVER_TASKS = "mean over tasks";

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
   * @param task the task's name; empty for the rows of eval.data
   * @param source every row once, in order
   * @param rows how many
   * @param everySteps how often; 0 = after the last step only
   */
  public record HeldOut(String task, StepSource source, long rows, int everySteps) {
    /** Rows of no task in particular. */
    public HeldOut(StepSource source, long rows, int everySteps) {
      this("", source, rows, everySteps);
    }
  }

  private final RunConfig config;
  private final int steps;
  private final int microBatchTokens;
  private final Executor executor;
  private final StepState state;
  private final InputBuffer inputs;
  private final TrainingStep training;
  private final LearningRate rate;
  private final Map<HeldOut, Evaluation> evaluations = new LinkedHashMap<>();
  private final StepFeed feed;
  private final TrainingState all;
  private final CheckpointSaver saver;
  private final Collectives ranks;
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
      List<HeldOut> heldOut,
      int steps,
      Stream stream) {
    this(config, model, plan, source, heldOut, steps, stream, Collectives.ALONE);
  }

  /**
   * As above, for one of several ranks: all do the same steps.
   *
   * @param ranks its end of their groups; stays open
   */
  public Trainer(
      RunConfig config,
      ModelSource model,
      RunPlan plan,
      StepSource source,
      List<HeldOut> heldOut,
      int steps,
      Stream stream,
      Collectives ranks) {
    this.config = config;
    this.ranks = ranks;
    this.steps = steps;
    microBatchTokens = plan.buffers().tokens();
    RunConfig.Optimizer o = config.optimizer();
    executor = new Executor(plan.plan(), stream, ranks);
    TensorType stateType = TensorType.bytes(Inputs.STATE_BYTES);
    state = new StepState(executor.leaf(Inputs.STATE, stateType), stream.device());
    inputs = new InputBuffer(plan.plan(), plan.inputs(), executor.inputs(), stream);
    training =
        new TrainingStep(
            executor,
            inputs,
            state,
            Optimizers.create(o, executor, state.ref()),
            config.train().seed(),
            o.clipNorm(),
            model.config().experts());
    rate = new LearningRate(o.lr(), o.schedule(), o.warmupSteps(), o.finalLrRatio(), steps);
    for (HeldOut rows : heldOut) {
      evaluations.put(
          rows, new Evaluation(executor, inputs, state, rows.source(), rows.rows()));
    }
    feed = new StepFeed(source);
    all = new TrainingState(model, executor, training.optimizer());
    saver = new CheckpointSaver(config, model, executor, all);
    counts.put("input_tokens", 0L);
    counts.put("target_tokens", 0L);
    model.load(executor, plan.graphs().positions());
  }

  /** How work reaches the device. */
  LaunchMode launches() {
    return executor.launches();
  }

  /** Steps that are done. */
  public int done() {
    return done;
  }

  /**
   * Goes on from a checkpoint: weights, moments and the place in the data.
   *
   * @return why products may round otherwise than before; empty if they do not
   */
  public Optional<String> resume(SavedCheckpoint saved) {
    Optional<String> otherwise = all.load(saved);
    done = saved.state().step();
    nextExample = saved.state().nextExample();
    counts.putAll(saved.state().counts());
    return otherwise;
  }

  /**
   * Trains to the last step. Of several ranks, the first alone tells its listener; what one is asked, all
   * do.
   *
   * @param stop asked after every step; true ends the run with a checkpoint
   * @throws NonFinite before an update that would not be finite
   */
  public End run(Listener listener, BooleanSupplier stop) {
    try {
      return train(listener, stop);
    } catch (RuntimeException | Error e) {
      saver.settle(e); // so that whoever tells of it knows the last whole checkpoint
      throw e;
    }
  }

  private End train(Listener listener, BooleanSupplier stop) {
    boolean first = ranks.rank(Axis.WORLD) == 0;
    while (done < steps) {
      StepMetrics metrics = step();
      if (first) {
        listener.step(metrics);
      }
      boolean last = done == steps;
      boolean stopped = !last && stops(stop.getAsBoolean());
      try {
        saved(listener, saver.complete());
        evaluate(last, first, listener);
        if (last || stopped || due(config.checkpoint().everySteps())) {
          saved(listener, saver.save(position(), last || stopped));
        }
      } catch (KernelException e) {
        throw e.at("after step " + done);
      }
      if (stopped) {
        return End.STOPPED;
      }
    }
    return End.COMPLETE;
  }

  private void evaluate(boolean last, boolean first, Listener listener) {
    double sum = 0;
    long targets = 0;
    int tasks = 0;
    for (Map.Entry<HeldOut, Evaluation> entry : evaluations.entrySet()) {
      if (last || due(entry.getKey().everySteps())) {
        Evaluation.Result held = entry.getValue().run();
        if (first) {
          listener.evaluated(
              new EvalMetrics(entry.getKey().task(), done, held.loss(), held.targets()));
        }
        if (!entry.getKey().task().isEmpty()) {
          sum += held.loss();
          targets += held.targets();
          tasks++;
        }
      }
    }
    if (first && tasks > 1) {
      listener.evaluated(new EvalMetrics(MEAN_OVER_TASKS, done, sum / tasks, targets));
    }
  }

  private void saved(Listener listener, Map<Integer, Path> checkpoints) {
    if (ranks.rank(Axis.WORLD) == 0) {
      checkpoints.forEach(listener::saved);
    }
  }

  /** Where the run stands. */
  private TrainerState position() {
    return new TrainerState(
        done,
        nextExample,
        done,
        config.train().seed(),
        microBatchTokens,
        counts,
        RunConfigWriter.hash(config),
        Native.abiVersion(),
        executor.stream().device().toString(),
        executor.stream().threads(),
        executor.products().choices());
  }

  /** For tests: puts something around what is written in the background. */
  void aroundWrites(UnaryOperator<Runnable> wrapper) {
    saver.around(wrapper);
  }

  /** Whether some rank is asked to stop: the same answer on all. They also tell what they have written. */
  private boolean stops(boolean here) {
    double[] ranksThat = {here ? 1 : 0, saver.written() ? 1 : 0};
    ranks.sum(Axis.WORLD, ranksThat);
    if (ranksThat[1] == ranks.size(Axis.WORLD)) {
      saver.allWritten();
    }
    return ranksThat[0] > 0;
  }

  private boolean due(int every) {
    return every > 0 && done % every == 0;
  }

  /**
   * Trains one step, saves and evaluates nothing.
   *
   * @throws NonFinite before an update that would not be finite
   * @throws KernelException naming the step, if the device fails
   */
  public StepMetrics step() {
    int number = done + 1;
    try {
      return step(number);
    } catch (KernelException e) {
      throw e.at("step " + number);
    }
  }

  private StepMetrics step(int number) {
    long began = System.nanoTime();
    Step step = feed.take(nextExample);
    double lr = rate.at(number);
    if (number < steps) {
      feed.readAhead();
    }
    training.begin(number, step, lr);
    TrainingStep.Result result = training.end(step);
    if (!result.finite()) {
      throw notFinite(number, step, lr);
    }
    done = number;
    nextExample = step.nextK();
    counts.merge("input_tokens", step.inputTokens(), Long::sum);
    counts.merge("target_tokens", step.targetTokens(), Long::sum);
    double seconds = (System.nanoTime() - began) * 1e-9;
    return new StepMetrics(
        number,
        result.loss(),
        result.gradNorm(),
        lr,
        step.targetTokens(),
        step.inputTokens(),
        step.inputTokens() / seconds,
        seconds,
        feed.waitedSeconds(),
        PeakMemory.hostBytes(),
        PeakMemory.deviceBytes(executor.stream().device().kind()),
        result.experts());
  }

  /** The first rank that finds where it arose tells; if none does, the first of all. */
  private RuntimeException notFinite(int number, Step step, double lr) {
    Optional<String> found = training.locate(number, step, lr);
    int rank = ranks.rank(Axis.WORLD);
    double[] finders = new double[ranks.size(Axis.WORLD)];
    finders[rank] = found.isPresent() ? 1 : 0;
    ranks.sum(Axis.WORLD, finders);
    int teller = 0;
    while (teller < finders.length && finders[teller] == 0) {
      teller++;
    }
    teller = teller == finders.length ? 0 : teller;
    if (rank != teller) {
      return new RankFailure("step " + number + ": rank " + teller + " has a value that is not finite");
    }
    String where = finders.length > 1 && found.isPresent() ? "rank " + rank + ": " : "";
    return NonFinite.of(number, where + found.orElse(NonFinite.unlocated(step)));
  }

  /**
   * Seconds that the device takes for a step's recorded work, the mean over {@code times} steps enqueued
   * back to back. It moves the weights on: for measurements, after the first steps.
   */
  public double replaySeconds(int times) {
    return training.replaySeconds(times);
  }

  /** Frees all memory of the run. */
  @Override
  public void close() {
    feed.close();
    saver.close();
    training.close();
    inputs.close();
    state.close();
    executor.close();
  }
}
