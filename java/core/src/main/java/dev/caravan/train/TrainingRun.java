package dev.caravan.train;

import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.model.DecoderConfig;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.parallel.Rendezvous;
import dev.caravan.parallel.Turns;
import dev.caravan.train.log.Progress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/**
 * A run from its run file to its last checkpoint: reads the data, plans, loads the weights, opens
 * the run folder, trains and records. Everything that can be wrong with the input is found before
 * the run folder is touched.
 */
public final class TrainingRun {
  /** Tokens of a micro-batch where the run file names none: enough for the matrix products. */
  private static final int GOOD_MICRO_BATCH = 2048;

  private static final int MICRO_BATCH_UNIT = 128;
  private static final int EVAL_EXAMPLES = 64;

  private TrainingRun() {}

  /** Which tokens are learnt. */
  public enum Loss {
    /** Those that the data marks: responses. */
    TARGETS,
    /** All but the first of a row. */
    EVERY_TOKEN
  }

  /**
   * How a run ended.
   *
   * @param end whether it is complete or was asked to stop
   * @param checkpoint the last one; null of a process that is not the first
   */
  public record Outcome(Trainer.End end, Path checkpoint) {}

  /**
   * Trains.
   *
   * @param config the run
   * @param loss which tokens are learnt
   * @param choice where
   * @param progress shows what happens
   * @param stop asked after every step; true ends the run with a checkpoint
   * @throws UserError if something is wrong with the input
   * @throws NonFinite before an update that would not be finite
   */
  public static Outcome run(
      RunConfig config, Loss loss, DeviceChoice choice, Progress progress, BooleanSupplier stop) {
    return run(config, loss, choice, progress, stop, checkpoint -> Map.of());
  }

  /** What every checkpoint is asked as soon as it is saved. */
  public interface Exam {
    /** Percent by metric, as metrics.jsonl names it, and by set; empty for no exam. */
    Map<String, Map<String, Double>> of(Path checkpoint);
  }

  /** As above, with an exam of every checkpoint, whose results go to metrics.jsonl. */
  public static Outcome run(
      RunConfig config,
      Loss loss,
      DeviceChoice choice,
      Progress progress,
      BooleanSupplier stop,
      Exam exam) {
    Optional<Rendezvous> place = Rendezvous.of(System.getenv());
    Mesh mesh = mesh(config, place);
    List<Device> devices = choice.ofRanks(mesh.size() / place.map(Rendezvous::size).orElse(1));
    Optional<SavedCheckpoint> before = RunFolder.inspect(config, loss);
    ModelSource model = ModelSource.of(config.model());
    if (config.sequence().length() > model.config().maxPosition()) {
      progress.note(
          "sequence.length %d is beyond the model's context of %d"
              .formatted(config.sequence().length(), model.config().maxPosition()));
    }
    try (RunData data = RunData.load(config, model.config().vocab(), progress::note)) {
      return run(
          config, loss, model, data, before, mesh, place, choice, devices, progress, stop, exam);
    }
  }

  private static Outcome run(
      RunConfig config,
      Loss loss,
      ModelSource model,
      RunData data,
      Optional<SavedCheckpoint> before,
      Mesh mesh,
      Optional<Rendezvous> place,
      DeviceChoice choice,
      List<Device> devices,
      Progress progress,
      BooleanSupplier stop,
      Exam exam) {
    data.train().report().warnings().forEach(progress::note);
    data.heldOut().ifPresent(rows -> rows.report().warnings().forEach(progress::note));
    data.tasks().values().forEach(rows -> rows.report().warnings().forEach(progress::note));
    // The size that a run began with stays, even where another would be chosen today: the order in
    // which gradients are added, and so the last bits, depend on it.
    RunConfig sized =
        before
            .map(saved -> saved.state().microBatchTokens())
            .filter(tokens -> tokens >= config.sequence().length())
            .map(config::withMicroBatchTokens)
            .orElse(config);
    RunPlan plan = plan(sized, model.config(), data.lengths(), choice);
    StepSource source = source(config, learnt(data.train().rows(), loss), plan.buffers());
    int steps =
        config.train().steps().isPresent()
            ? config.train().steps().getAsInt()
            : Math.toIntExact(source.stepsOf(config.train().epochs().orElseThrow()));
    Optional<MixtureReport> mixture =
        data.mixture().map(drawn -> RunMixture.report(config, drawn, steps));
    mixture.ifPresent(report -> RunMixture.check(config, report));
    if (before.isPresent() && before.get().state().step() >= steps) {
      progress.note(
          config.output() + ": complete, " + before.get().state().step() + " steps are done");
      return new Outcome(Trainer.End.COMPLETE, before.get().folder());
    }
    mixture.ifPresent(report -> report.table().forEach(progress::note));
    Map<String, LoadedRows> evaluated = new LinkedHashMap<>();
    data.heldOut().ifPresent(rows -> evaluated.put("", rows));
    evaluated.putAll(data.tasks());
    List<Trainer.HeldOut> heldOut = new ArrayList<>();
    evaluated.forEach(
        (task, loaded) -> {
          RowSet rows = learnt(loaded.rows(), loss);
          StepSource inOrder =
              new StepSource(
                  rows,
                  ExampleOrder.sequential(rows.size()),
                  StepSize.examples(EVAL_EXAMPLES),
                  plan.buffers());
          heldOut.add(new Trainer.HeldOut(task, inOrder, rows.size(), config.eval().everySteps()));
        });
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    RankRun rank =
        new RankRun(
            config, loss, model, plan, source, heldOut, mixture, steps, choice, devices, exam);
    if (mesh.size() == 1) {
      return rank.run(Collectives.ALONE, progress, stop);
    }
    int first = place.map(Rendezvous::rank).orElse(0) * devices.size();
    RankThreads.Body<Outcome> body =
        ranks ->
            rank.run(
                ranks, progress, ranks.rank(Collective.Axis.WORLD) == first ? stop : () -> false);
    return place.isPresent()
        ? joined(place.get(), mesh, rank.config(), data, body)
        : RankThreads.run(mesh, body);
  }

  /** Whether this process is the only one of its run, or the first. */
  public static boolean firstProcess() {
    return Rendezvous.of(System.getenv()).map(place -> place.rank() == 0).orElse(true);
  }

  /** The ranks of one of several processes, which join the others when its data is there. */
  private static Outcome joined(
      Rendezvous place, Mesh mesh, RunConfig config, RunData data, RankThreads.Body<Outcome> body) {
    RowSet rows = data.train().rows();
    String lengths =
        "data: %d rows, %d tokens, %d targets"
                .formatted(rows.size(), rows.totalTokens(), rows.totalTargets())
            + data.mixture().map(mixture -> ", mixture " + mixture.identity()).orElse("");
    String settings = lengths + "\n" + RunConfigWriter.toYaml(config);
    return RankThreads.run(
        place, mesh, settings, first -> difference(first, lengths, config), body);
  }

  /** The first key, or the data, in which rank 0's settings are not this process's; "" if none. */
  private static String difference(String first, String lengths, RunConfig config) {
    int line = first.indexOf('\n');
    RunConfig its = RunFile.parse(first.substring(line + 1), "rank 0", "rank-0", List.of());
    return RunConfigWriter.anyDifference(config, its)
        .orElse(
            first.substring(0, line).equals(lengths)
                ? ""
                : lengths + ", was " + first.substring(0, line));
  }

  /** How the ranks of a run are arranged. */
  private static Mesh mesh(RunConfig config, Optional<Rendezvous> place) {
    Mesh mesh = ExpertSettings.mesh(config.parallel());
    if (place.isPresent() && mesh.size() % place.get().size() != 0) {
      throw new UserError(
          "parallel: got %d ranks, but %s started %d processes; needs as many, or a multiple"
              .formatted(mesh.size(), place.get().launcher(), place.get().size()));
    }
    return mesh;
  }

  /**
   * A trainer over rows that the caller has, without a run folder: for measurements. It learns
   * every token.
   *
   * @param rows at least one, none longer than the sequence
   * @param steps of the whole run
   * @param stream on the device of the choice; stays open
   * @throws UserError if no plan fits the device
   */
  public static Trainer onRows(
      RunConfig config,
      ModelSource model,
      RowSet rows,
      int steps,
      DeviceChoice choice,
      Stream stream) {
    if (config.parallel().data() > 1 || config.parallel().tensor() > 1) {
      throw new UserError(
          "parallel: got data %d and tensor %d, needs 1 here"
              .formatted(config.parallel().data(), config.parallel().tensor()));
    }
    RunData.Lengths lengths =
        new RunData.Lengths(rows.minLength(), (double) rows.totalTokens() / rows.size());
    RunPlan plan = plan(config, model.config(), lengths, choice);
    StepSource source = source(config, learnt(rows, Loss.EVERY_TOKEN), plan.buffers());
    return new Trainer(config, model, plan, source, List.of(), steps, stream);
  }

  static RowSet learnt(RowSet rows, Loss loss) {
    return loss == Loss.EVERY_TOKEN ? new EveryToken(rows) : rows;
  }

  static StepSource source(RunConfig config, RowSet rows, BufferShape shape) {
    RunConfig.Train train = config.train();
    StepSize size =
        train.examplesPerStep().isPresent()
            ? StepSize.examples(train.examplesPerStep().getAsInt())
            : StepSize.tokens(train.tokensPerStep().orElseThrow());
    return new StepSource(rows, order(config, rows), size, shape);
  }

  static ExampleOrder order(RunConfig config, RowSet rows) {
    if (config.data().mixture().isPresent()) {
      return ExampleOrder.drawn(rows.size());
    }
    return config.train().shuffle()
        ? ExampleOrder.shuffled(rows.size(), config.train().seed())
        : ExampleOrder.sequential(rows.size());
  }

  /**
   * The plan of a run. Where the run file leaves the size of a micro-batch open, the largest good
   * one that fits is taken.
   *
   * @param rows lengths of the rows
   * @throws UserError if nothing fits the device, saying what would
   */
  static RunPlan plan(
      RunConfig config, DecoderConfig model, RunData.Lengths rows, DeviceChoice choice) {
    Device device = choice.device();
    try {
      return plan(
          config, model, rows, device.kind(), choice.threads(), HostMemory.available(device));
    } catch (UserError e) {
      throw device.kind() == Device.Kind.CPU
          ? e
          : new UserError(e.getMessage() + "; " + HostMemory.room(device), e);
    }
  }

  /** As above, for a device that need not be here: its kind, and its memory in bytes. */
  static RunPlan plan(
      RunConfig config,
      DecoderConfig model,
      RunData.Lengths rows,
      Device.Kind kind,
      int threads,
      long available) {
    int length = config.sequence().length();
    // Ranks on the CPU share one memory and some cores.
    int sharing =
        kind == Device.Kind.CPU ? config.parallel().data() * config.parallel().tensor() : 1;
    int tokens = config.train().microBatchTokens().orElse(defaultMicroBatch(config, rows.mean()));
    while (true) {
      BufferShape shape =
          BufferShape.of(tokens, length, config.sequence().packing(), rows.shortest(), 0);
      try {
        return RunPlan.choose(
            model,
            config,
            shape,
            kind,
            new Turns(0, sharing).threads(threads),
            available / sharing);
      } catch (UserError e) {
        if (config.train().microBatchTokens().isPresent() || tokens == length) {
          throw e;
        }
        tokens = Math.max(length, tokens / 2 / length * length);
      }
    }
  }

  /**
   * The size of a micro-batch where the run file names none: what a rank's share of a step fills,
   * up to a good size, and at least one sequence.
   *
   * @param meanRow tokens of a row on average
   */
  static int defaultMicroBatch(RunConfig config, double meanRow) {
    int length = config.sequence().length();
    boolean packing = config.sequence().packing();
    double step =
        config.train().examplesPerStep().isPresent()
            ? config.train().examplesPerStep().getAsInt() * (packing ? meanRow : length)
            : config.train().tokensPerStep().orElseThrow();
    step /= config.parallel().data();
    int unit = packing ? MICRO_BATCH_UNIT : length;
    int wanted = (int) Math.ceil(Math.min(GOOD_MICRO_BATCH, step) / unit) * unit;
    return Math.max(length, wanted);
  }
}
