package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.graph.Executor;
import dev.caravan.graph.Replay;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Event;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.ExpertsConfig;
import dev.caravan.nn.SparseExperts;
import dev.caravan.optim.ClipNorm;
import dev.caravan.optim.Optimizer;
import dev.caravan.optim.SharedGradients;
import dev.caravan.parallel.Turns;
import dev.caravan.train.log.ExpertMetrics;
import java.util.Arrays;
import java.util.Optional;

/**
 * One optimizer step, whatever the number of micro-batches: the gradient of the loss summed over all
 * target tokens of the step and divided once by their number. On a GPU it is two kinds of recorded work:
 * a micro-batch's forward and backward, and the update. All that changes from step to step is read from
 * device memory.
 */
public final class TrainingStep implements AutoCloseable {
  /** Name of the unit that computes loss and gradients of one micro-batch. */
  public static final String MICRO = "micro";

  /** The same for the last micro-batch of a step, where ranks sum their gradients meanwhile. */
  public static final String LAST = "last";

  /**
   * What a step did.
   *
   * @param loss mean negative log-likelihood, nats per target token, before the update
   * @param gradNorm global L2 norm of the gradient before clipping
   * @param finite whether the weights were updated; when not, some value was not a finite number
   * @param experts what its sparse layers did, where there are any
   */
  public record Result(
      double loss, double gradNorm, boolean finite, Optional<ExpertMetrics> experts) {}

  private final Executor executor;
  private final Stream stream;
  private final Optimizer optimizer;
  private final SharedGradients shared;
  private final ClipNorm norm;
  private final StepState state;
  private final InputBuffer inputs;
  private final Replay update;
  private final TensorRef gradients;
  private final Optional<TensorRef> expertTotals;
  private final int sparseLayers;
  private final long seed;
  private final float clipNorm;
  private final Turns turns;
  private final boolean exchangesOnce;
  private MicroBatch nothing;
  private Step last;

  /**
   * @param executor bound to a plan with a unit {@link #MICRO}
   * @param inputs of that unit
   * @param optimizer of the executor's weights; closed with this
   * @param seed of random numbers on the device
   * @param clipNorm greatest global gradient norm; 0 = none
   * @param experts of the model, where it has any
   */
  TrainingStep(
      Executor executor,
      InputBuffer inputs,
      StepState state,
      Optimizer optimizer,
      long seed,
      double clipNorm,
      Optional<ExpertsConfig> experts) {
    this.executor = executor;
    sparseLayers = experts.map(ExpertsConfig::layers).orElse(0);
    expertTotals =
        experts.map(
            e ->
                executor.leaf(
                    SparseExperts.TOTALS,
                    SparseExperts.totalsType(e.layers(), e.experts())));
    this.stream = executor.stream();
    this.inputs = inputs;
    this.optimizer = optimizer;
    this.state = state;
    this.seed = seed;
    this.clipNorm = (float) clipNorm;
    gradients = executor.gradients();
    turns = new Turns(executor.ranks().rank(Axis.DATA), executor.ranks().size(Axis.DATA));
    exchangesOnce = executor.plan().units().containsKey(LAST);
    shared = new SharedGradients(executor);
    norm = new ClipNorm(executor, state);
    update =
        new Replay(
            stream,
            () -> {
              executor.launch("shared_gradients", shared::run);
              executor.launch("global_norm", norm::run);
              executor.launch("optimizer", optimizer::step);
            });
  }

  /**
   * Enqueues one step's work on its examples; a GPU goes on with it while the host does other things.
   *
   * @param number of the step, from 1
   * @param lr learning rate of this step
   */
  void begin(long number, Step step, double lr) {
    clear(number, step, lr);
    executor.ranks().at(number);
    int rounds = turns.rounds(step.microBatches());
    for (int round = 0; round < rounds; round++) {
      MicroBatch batch = batch(step, round);
      inputs.upload(batch);
      executor.run(unit(round, rounds), batch.targets());
    }
    last = step;
    try {
      update.run();
    } catch (KernelException e) {
      throw e.at("update");
    }
  }

  /** The rank's buffer in a round; where there is none, an empty one, which still joins the others. */
  private MicroBatch batch(Step step, int round) {
    int buffer = turns.buffer(round, step.microBatches());
    if (buffer != Turns.NONE) {
      return step.microBatch(buffer);
    }
    if (nothing == null) {
      nothing = new MicroBatch(step.shape());
    }
    return nothing;
  }

  private String unit(int round, int rounds) {
    return exchangesOnce && round == rounds - 1 ? LAST : MICRO;
  }

  /** Waits for the step that was begun and says what it did, over all ranks. */
  Result end(Step step) {
    StepState.Result result = state.result(stream);
    double[] totals = expertTotals.map(this::read).orElse(new double[0]);
    double[] sums = new double[1 + sparseLayers];
    sums[0] = result.lossSum();
    for (int layer = 0; layer < sparseLayers; layer++) {
      sums[1 + layer] = totals[dropped(totals, layer)];
    }
    executor.ranks().sum(Axis.DATA, sums);
    for (int layer = 0; layer < sparseLayers; layer++) {
      totals[dropped(totals, layer)] = sums[1 + layer] - (turns.ranks() - 1) * chosen(totals, layer);
    }
    return new Result(
        sums[0] / step.targetTokens(),
        result.gradNorm(),
        result.finite(),
        expertTotals.map(all -> ExpertMetrics.of(totals, sparseLayers)));
  }

  /**
   * Where a layer's drops stand among the totals, all others of which are those of all ranks: as many as all
   * ranks' choices without those that found room on this one.
   */
  private int dropped(double[] totals, int layer) {
    return layer * (totals.length / sparseLayers) + 2;
  }

  private double chosen(double[] totals, int layer) {
    int first = dropped(totals, layer) + 1;
    int end = (layer + 1) * (totals.length / sparseLayers);
    return Arrays.stream(totals, first, end).sum();
  }

  private double[] read(TensorRef totals) {
    try (TensorAccess access = TensorAccess.of(stream)) {
      double[] values = new double[(int) (totals.bytes() / Double.BYTES)];
      access.read(totals.address(), (int) totals.bytes()).asDoubleBuffer().get(values);
      return values;
    }
  }

  /** Trains on one step's examples. */
  public Result run(long number, Step step, double lr) {
    begin(number, step, lr);
    return end(step);
  }

  private void clear(long number, Step step, double lr) {
    float inverseTargets = (float) (1.0 / step.targetTokens());
    float inverseTokens = (float) (1.0 / step.inputTokens());
    state.begin(stream, number, seed, (float) lr, inverseTargets, inverseTokens, clipNorm);
    expertTotals.ifPresent(totals -> stream.fill(totals.address(), 0, totals.bytes()));
    stream.fill(gradients.address(), 0, gradients.bytes());
  }

  /**
   * Runs the rank's micro-batches again, op by op, to say where a value that is not finite arises.
   * The weights are those of before the step: nothing was updated.
   */
  Optional<String> locate(long number, Step step, double lr) {
    clear(number, step, lr);
    boolean together = executor.ranks().size(Axis.WORLD) > 1; // ranks that exchange something do all rounds
    Optional<String> found = Optional.empty();
    for (int round = 0; round < turns.rounds(step.microBatches()); round++) {
      MicroBatch batch = batch(step, round);
      inputs.upload(batch);
      Optional<String> here = NonFinite.locate(executor, MICRO, batch);
      found = found.or(() -> here);
      if (found.isPresent() && !together) {
        return found;
      }
    }
    return found;
  }

  /** See {@link Trainer#replaySeconds}; every micro-batch reads the inputs of the last one. */
  double replaySeconds(int times) {
    try (Event began = Event.open(stream.device());
        Event ended = Event.open(stream.device())) {
      began.record(stream);
      for (int i = 0; i < times; i++) {
        stream.fill(gradients.address(), 0, gradients.bytes());
        int rounds = turns.rounds(last.microBatches());
        for (int round = 0; round < rounds; round++) {
          executor.run(unit(round, rounds), batch(last, round).targets());
        }
        update.run();
      }
      ended.record(stream);
      stream.synchronize();
      return began.millisecondsTo(ended) * 1e-3 / times;
    }
  }

  /** The optimizer, whose state belongs into a checkpoint. */
  public Optimizer optimizer() {
    return optimizer;
  }

  @Override
  public void close() {
    update.close();
    norm.close();
    optimizer.close();
  }
}
