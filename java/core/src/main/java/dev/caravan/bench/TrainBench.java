package dev.caravan.bench;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.RowStore;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.model.LlamaCost;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunPlan;
import dev.caravan.train.Trainer;
import dev.caravan.train.TrainingRun;
import dev.caravan.train.log.StepMetrics;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.SplittableRandom;

/**
 * A training run's speed and memory, on rows of random tokens that are each as long as the sequence, loss
 * on every token. Nothing is written.
 */
public final class TrainBench {
  /** The first steps fill caches and let the JVM compile. */
  private static final int WARM_UP = 2;

  /** Steps that are profiled behind those that are timed. */
  private static final int PROFILED = 4;

  private static final int RATE_SAMPLES = 9;

  /** A step's recorded work is enqueued so often to measure the device's part of it... */
  private static final int REPLAYS = 50;

  /** ... but of long steps only as many as take about so many seconds, and at least two. */
  private static final double REPLAY_SECONDS = 10;

  private TrainBench() {}

  /**
   * What was measured.
   *
   * @param parameters of the model, tied ones once
   * @param sequence tokens of a row
   * @param stepTokens input tokens of a step
   * @param storage of weights and activations
   * @param seconds of each step that counts
   * @param losses of the same steps
   * @param hostPeakBytes most host memory of the whole process
   * @param deviceBytes what Caravan holds on the device
   * @param flopsPerToken model FLOPs of one token, attention's counted
   * @param javaShare of the time of those steps, what the device's recorded work alone would not have
   *     taken; where there is a GPU that recorded it
   * @param productRate FLOP/s of a square product, measured in the same run
   * @param profile shares of a step's time, if asked for
   * @param ops seconds of each op in one step, if asked for
   */
  public record Result(
      long parameters,
      int sequence,
      long stepTokens,
      DType storage,
      List<Double> seconds,
      List<Double> losses,
      long hostPeakBytes,
      long deviceBytes,
      double flopsPerToken,
      OptionalDouble javaShare,
      double productRate,
      Optional<Map<String, Double>> profile,
      Optional<Map<String, Double>> ops) {
    /** Seconds of the median step. */
    public double median() {
      List<Double> sorted = seconds.stream().sorted().toList();
      int middle = sorted.size() / 2;
      return sorted.size() % 2 == 1
          ? sorted.get(middle)
          : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
    }

    /** Input tokens per second of the median step. */
    public double tokensPerSecond() {
      return stepTokens / median();
    }

    /** Model FLOPs per second over those of a product. */
    public double productShare() {
      return tokensPerSecond() * flopsPerToken / productRate;
    }
  }

  /**
   * Trains and measures.
   *
   * @param config its data is not read
   * @param steps that count; others come before
   * @param profile whether some more steps are profiled
   * @throws dev.caravan.data.UserError if no plan fits the device
   */
  public static Result run(
      RunConfig config, DeviceChoice choice, Stream stream, int steps, boolean profile) {
    ModelSource model = ModelSource.of(config.model());
    DType storage = RunPlan.storage(config.precision(), choice.device().kind());
    double before = Roof.productRate(stream, storage, RATE_SAMPLES);
    int sequence = config.sequence().length();
    int all = WARM_UP + steps + (profile ? PROFILED : 0);
    RowSet rows = randomRows(model.config().vocab(), sequence, rowsOfAStep(config));
    try (Trainer trainer = TrainingRun.onRows(config, model, rows, all, choice, stream)) {
      for (int i = 0; i < WARM_UP; i++) {
        trainer.step();
      }
      List<StepMetrics> counted = new ArrayList<>();
      for (int i = 0; i < steps; i++) {
        counted.add(trainer.step());
      }
      OptionalDouble javaShare = javaShare(trainer, counted, choice);
      StepProfile profiled = profile ? profiled(trainer, stream) : null;
      StepMetrics last = counted.get(counted.size() - 1);
      LlamaCost cost = new LlamaCost(model.config());
      return new Result(
          cost.parameters(),
          sequence,
          last.inputTokens(),
          storage,
          counted.stream().map(StepMetrics::seconds).toList(),
          counted.stream().map(StepMetrics::loss).toList(),
          last.hostPeakBytes(),
          last.devicePeakBytes(),
          cost.trainingFlopsPerToken(sequence),
          javaShare,
          Math.max(before, Roof.productRate(stream, storage, RATE_SAMPLES)),
          Optional.ofNullable(profiled).map(StepProfile::shares),
          Optional.ofNullable(profiled).map(TrainBench::perStep));
    }
  }

  /** One less the time of a step's recorded work, many times back to back, over that of the real loop. */
  private static OptionalDouble javaShare(
      Trainer trainer, List<StepMetrics> counted, DeviceChoice choice) {
    if (choice.device().kind() != Device.Kind.CUDA) {
      return OptionalDouble.empty();
    }
    double loop = counted.stream().mapToDouble(StepMetrics::seconds).sum() / counted.size();
    return OptionalDouble.of(1 - trainer.replaySeconds(replays(loop)) / loop);
  }

  /** How often a step of so many seconds is enqueued. */
  static int replays(double seconds) {
    return (int) Math.max(2, Math.min(REPLAYS, REPLAY_SECONDS / seconds));
  }

  private static StepProfile profiled(Trainer trainer, Stream stream) {
    try (StepProfile profile = new StepProfile(stream)) {
      for (int i = 0; i < PROFILED; i++) {
        trainer.step();
      }
      return profile;
    }
  }

  private static Map<String, Double> perStep(StepProfile profile) {
    Map<String, Double> seconds = profile.seconds();
    seconds.replaceAll((op, spent) -> spent / PROFILED);
    return seconds;
  }

  private static long rowsOfAStep(RunConfig config) {
    RunConfig.Train train = config.train();
    return train.examplesPerStep().isPresent()
        ? train.examplesPerStep().getAsInt()
        : Math.max(1, train.tokensPerStep().orElseThrow() / config.sequence().length());
  }

  /** Rows for a few steps; a longer run goes through them again. */
  static RowSet randomRows(int vocab, int sequence, long rowsOfAStep) {
    SplittableRandom random = new SplittableRandom(1);
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < Math.min(4 * rowsOfAStep, 4096); i++) {
      int[] ids = random.ints(sequence, 0, vocab).toArray();
      rows.add(new Row(ids, ids, i));
    }
    return RowStore.of(rows);
  }
}
