package dev.caravan.train;

import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.LaunchMode;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import dev.caravan.model.LlamaConfig;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.MetricsFile;
import dev.caravan.train.log.Progress;
import dev.caravan.train.log.StepMetrics;
import dev.caravan.train.log.TensorBoardWriter;
import java.nio.file.Path;
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

  /** How to learn which op failed on a device that says so late. */
  private static final String NAMES_THE_OP =
      " (to see at which op, go on with CARAVAN_JAVA_OPTS=-D" + LaunchMode.PROPERTY + "=wait)";

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
   * @param checkpoint the last one
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
    Optional<SavedCheckpoint> before = RunFolder.inspect(config, loss);
    ModelSource model = ModelSource.of(config.model());
    if (config.sequence().length() > model.config().maxPosition()) {
      progress.note(
          "sequence.length %d is beyond the model's context of %d"
              .formatted(config.sequence().length(), model.config().maxPosition()));
    }
    RunData data = RunData.load(config, model.config().vocab());
    data.train().report().warnings().forEach(progress::note);
    data.heldOut().ifPresent(rows -> rows.report().warnings().forEach(progress::note));
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
    if (before.isPresent() && before.get().state().step() >= steps) {
      progress.note(
          config.output() + ": complete, " + before.get().state().step() + " steps are done");
      return new Outcome(Trainer.End.COMPLETE, before.get().folder());
    }
    Optional<Trainer.HeldOut> heldOut =
        data.heldOut()
            .map(loaded -> learnt(loaded.rows(), loss))
            .map(
                rows ->
                    new Trainer.HeldOut(
                        new StepSource(
                            rows,
                            ExampleOrder.sequential(rows.size()),
                            StepSize.examples(EVAL_EXAMPLES),
                            plan.buffers()),
                        rows.size(),
                        config.eval().everySteps()));
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    try (Stream stream = Stream.open(choice.device(), choice.threads());
        Trainer trainer = trainer(config, model, plan, source, heldOut, steps, stream);
        RunFolder folder = RunFolder.open(config, loss)) {
      folder
          .resumed()
          .flatMap(trainer::resume)
          .ifPresent(
              reason ->
                  progress.note("matrix products may round otherwise than before: " + reason));
      return train(trainer, folder, steps, progress, stop);
    }
  }

  /** Allocates; another process may have taken what was free when the plan was made. */
  private static Trainer trainer(
      RunConfig config,
      ModelSource model,
      RunPlan plan,
      StepSource source,
      Optional<Trainer.HeldOut> heldOut,
      int steps,
      Stream stream) {
    try {
      return new Trainer(config, model, plan, source, heldOut, steps, stream);
    } catch (KernelException.OutOfMemory e) {
      throw e.at(
          "the run's plan of %s fitted when it was made; start again to plan with what is free now"
              .formatted(RunPlan.size(plan.bytes().total())));
    }
  }

  /**
   * A trainer over rows that the caller has, without a run folder: for measurements. It learns every
   * token.
   *
   * @param rows at least one, none longer than the sequence
   * @param steps of the whole run
   * @param stream on the device of the choice; stays open
   * @throws UserError if no plan fits the device
   */
  public static Trainer onRows(
      RunConfig config, ModelSource model, RowSet rows, int steps, DeviceChoice choice, Stream stream) {
    RunData.Lengths lengths =
        new RunData.Lengths(rows.minLength(), (double) rows.totalTokens() / rows.size());
    RunPlan plan = plan(config, model.config(), lengths, choice);
    StepSource source = source(config, learnt(rows, Loss.EVERY_TOKEN), plan.buffers());
    return new Trainer(config, model, plan, source, Optional.empty(), steps, stream);
  }

  private static Outcome train(
      Trainer trainer, RunFolder folder, int steps, Progress progress, BooleanSupplier stop) {
    if (trainer.done() > 0) {
      progress.note("resumed from " + folder.checkpoints().path(trainer.done()));
    }
    try (MetricsFile metrics = new MetricsFile(folder.metrics(), trainer.done());
        TensorBoardWriter events = new TensorBoardWriter(folder.path(), trainer.done())) {
      Path[] last = new Path[1];
      progress.start(trainer.done(), steps);
      Trainer.End end =
          trainer.run(
              folder,
              new Trainer.Listener() {
                @Override
                public void step(StepMetrics m) {
                  metrics.write(m);
                  events.write(m);
                  progress.step(m);
                }

                @Override
                public void evaluated(EvalMetrics m) {
                  metrics.write(m);
                  events.write(m);
                  progress.note(
                      "step %d  held-out loss %.4f over %d targets"
                          .formatted(m.step(), m.evalLoss(), m.evalTargets()));
                }

                @Override
                public void saved(int step, Path checkpoint) {
                  last[0] = checkpoint;
                  progress.note("step %d  saved %s".formatted(step, checkpoint));
                }
              },
              stop);
      return new Outcome(end, last[0]);
    } catch (KernelException e) {
      boolean unnamed =
          e instanceof KernelException.DeviceLost && trainer.launches() != LaunchMode.WAIT;
      throw e.at(whole(folder) + (unnamed ? NAMES_THE_OP : ""));
    }
  }

  /** Where a run that fails can go on from. */
  private static String whole(RunFolder folder) {
    return folder
        .checkpoints()
        .latest()
        .map(saved -> "training stopped, " + saved.folder() + " is whole")
        .orElse("training stopped before its first checkpoint");
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
      RunConfig config, LlamaConfig model, RunData.Lengths rows, DeviceChoice choice) {
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
      LlamaConfig model,
      RunData.Lengths rows,
      Device.Kind kind,
      int threads,
      long available) {
    int length = config.sequence().length();
    int tokens = config.train().microBatchTokens().orElse(defaultMicroBatch(config, rows.mean()));
    while (true) {
      BufferShape shape =
          BufferShape.of(tokens, length, config.sequence().packing(), rows.shortest(), 0);
      try {
        return RunPlan.choose(model, config, shape, kind, threads, available);
      } catch (UserError e) {
        if (config.train().microBatchTokens().isPresent() || tokens == length) {
          throw e;
        }
        tokens = Math.max(length, tokens / 2 / length * length);
      }
    }
  }

  /**
   * The size of a micro-batch where the run file names none: what a step fills, up to a good size,
   * and at least one sequence.
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
    int unit = packing ? MICRO_BATCH_UNIT : length;
    int wanted = (int) Math.ceil(Math.min(GOOD_MICRO_BATCH, step) / unit) * unit;
    return Math.max(length, wanted);
  }
}
