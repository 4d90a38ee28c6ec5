package dev.caravan.train;

import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.LaunchMode;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import dev.caravan.parallel.Turns;
import dev.caravan.train.log.EvalMetrics;
import dev.caravan.train.log.MetricsFile;
import dev.caravan.train.log.Progress;
import dev.caravan.train.log.StepMetrics;
import dev.caravan.train.log.TensorBoardWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/**
 * What one rank does of a run: allocates, goes on from the last checkpoint, trains. The first rank
 * holds the run folder and records; the others only compute.
 *
 * @param config the run
 * @param loss which tokens are learnt
 * @param model where the weights come from
 * @param plan of one rank
 * @param source the examples
 * @param heldOut rows to evaluate on
 * @param mixture what is drawn from a mixture, where the run names one
 * @param steps of the whole run
 * @param choice of the run; the ranks share its threads
 * @param devices of this process's ranks, which follow each other
 * @param exam of every checkpoint
 */
record RankRun(
    RunConfig config,
    TrainingRun.Loss loss,
    ModelSource model,
    RunPlan plan,
    StepSource source,
    List<Trainer.HeldOut> heldOut,
    Optional<MixtureReport> mixture,
    int steps,
    DeviceChoice choice,
    List<Device> devices,
    TrainingRun.Exam exam) {
  /** How to learn which op failed on a device that says so late. */
  private static final String NAMES_THE_OP =
      " (to see at which op, go on with CARAVAN_JAVA_OPTS=-D" + LaunchMode.PROPERTY + "=wait)";

  /** Runs it; only the first rank is told of by {@code progress}. */
  TrainingRun.Outcome run(Collectives met, Progress progress, BooleanSupplier stop) {
    int rank = met.rank(Axis.WORLD);
    Device device = devices.get(rank % devices.size());
    Turns share = new Turns(rank, met.size(Axis.WORLD));
    int threads =
        device.kind() == Device.Kind.CPU ? share.threads(choice.threads()) : choice.threads();
    try (Stream stream = Stream.open(device, threads);
        Collectives joined = DeviceCollectives.join(stream, met).orElse(null)) {
      return run(stream, joined == null ? met : joined, progress, stop);
    }
  }

  private TrainingRun.Outcome run(
      Stream stream, Collectives ranks, Progress progress, BooleanSupplier stop) {
    try (Trainer trainer = trainer(stream, ranks)) {
      ranks.barrier(); // everything that can be wrong on a rank is found before the folder is
      // touched
      if (ranks.rank(Axis.WORLD) > 0) {
        ranks.barrier();
        RunFolder.inspect(config, loss).ifPresent(trainer::resume);
        return new TrainingRun.Outcome(trainer.run(new Trainer.Listener() {}, stop), null);
      }
      try (RunFolder folder = RunFolder.open(config, loss)) {
        ranks.barrier();
        mixture.ifPresent(report -> RunMixture.write(folder.path(), report));
        folder
            .resumed()
            .flatMap(trainer::resume)
            .ifPresent(
                reason ->
                    progress.note("matrix products may round otherwise than before: " + reason));
        return train(trainer, folder, progress, stop);
      }
    }
  }

  /** Allocates; another process may have taken what was free when the plan was made. */
  private Trainer trainer(Stream stream, Collectives ranks) {
    try {
      return new Trainer(config, model, plan, source, heldOut, steps, stream, ranks);
    } catch (KernelException.OutOfMemory e) {
      throw e.at(
          "the run's plan of %s fitted when it was made; start again to plan with what is free now"
              .formatted(RunPlan.size(plan.bytes().total())));
    }
  }

  private TrainingRun.Outcome train(
      Trainer trainer, RunFolder folder, Progress progress, BooleanSupplier stop) {
    if (trainer.done() > 0) {
      progress.note("resumed from " + folder.checkpoints().path(trainer.done()));
    }
    try (MetricsFile metrics = new MetricsFile(folder.metrics(), trainer.done());
        TensorBoardWriter events = new TensorBoardWriter(folder.path(), trainer.done())) {
      Path[] last = new Path[1];
      progress.start(trainer.done(), steps);
      Trainer.End end =
          trainer.run(
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
                  String of = m.task().isEmpty() ? "held-out" : "task " + m.task() + ":";
                  progress.note(
                      "step %d  %s loss %.4f over %d targets"
                          .formatted(m.step(), of, m.evalLoss(), m.evalTargets()));
                }

                @Override
                public void saved(int step, Path checkpoint) {
                  last[0] = checkpoint;
                  progress.note("step %d  saved %s".formatted(step, checkpoint));
                  Map<String, Map<String, Double>> scores = exam.of(checkpoint);
                  if (!scores.isEmpty()) {
                    metrics.write(step, scores);
                    events.write(step, scores);
                    scores.forEach(
                        (metric, sets) ->
                            sets.forEach(
                                (set, percent) ->
                                    progress.note(
                                        "step %d  %s: %s %.1f %%"
                                            .formatted(
                                                step, set, metric.replace('_', ' '), percent))));
                  }
                }
              },
              stop);
      return new TrainingRun.Outcome(end, last[0]);
    } catch (NonFinite e) {
      if (e.ofRouter() && trainer.done() == 0) {
        folder.withdraw();
      }
      throw e;
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
        .map(SavedCheckpoint::folder)
        .map(saved -> "training stopped, " + saved + " is whole")
        .orElse("training stopped before its first checkpoint");
  }
}
