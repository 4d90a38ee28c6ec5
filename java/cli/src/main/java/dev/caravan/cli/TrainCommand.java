package dev.caravan.cli;

import dev.caravan.train.DeviceChoice;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunFolder;
import dev.caravan.train.Trainer;
import dev.caravan.train.TrainingRun;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.BooleanSupplier;
import picocli.CommandLine.Mixin;

/** What sft and pretrain share. */
abstract class TrainCommand implements Callable<Integer> {
  @Mixin RunOptions run;
  @Mixin DeviceOptions device;

  /** Which tokens the verb learns. */
  abstract TrainingRun.Loss loss();

  private static Map<String, Map<String, Double>> exam(
      RunConfig config, Optional<BeforeAndAfter> answers, Path checkpoint, BooleanSupplier stop) {
    return config.eval().exactMatchAtCheckpoints()
        ? answers.orElseThrow().at(checkpoint, stop)
        : Map.of();
  }

  @Override
  public Integer call() {
    RunConfig config = run.read().requireData();
    DeviceChoice choice = device.choose();
    Optional<BeforeAndAfter> answers;
    TrainingRun.Outcome outcome;
    try (Interrupt interrupt = new Interrupt()) {
      RunFolder.inspect(config, loss());
      answers = TrainingRun.firstProcess() ? BeforeAndAfter.of(config, choice) : Optional.empty();
      if (answers.isPresent() && !answers.get().before(interrupt::requested)) {
        return Main.INTERRUPTED;
      }
      try (ConsoleProgress progress = new ConsoleProgress()) {
        outcome =
            TrainingRun.run(
                config,
                loss(),
                choice,
                progress,
                interrupt::requested,
                checkpoint -> exam(config, answers, checkpoint, interrupt::requested));
      }
      boolean complete = outcome.end() == Trainer.End.COMPLETE;
      if (!complete
          || answers.isPresent()
              && !answers.get().after(outcome.checkpoint(), interrupt::requested)) {
        return Main.INTERRUPTED;
      }
    }
    if (outcome.checkpoint() != null) {
      System.out.println(outcome.checkpoint());
    }
    answers.ifPresent(BeforeAndAfter::report);
    return Main.DONE;
  }
}
