package dev.caravan.cli;

import dev.caravan.train.DeviceChoice;
import dev.caravan.train.RunConfig;
import dev.caravan.train.Trainer;
import dev.caravan.train.TrainingRun;
import java.util.concurrent.Callable;
import picocli.CommandLine.Mixin;

/** What sft and pretrain share. */
abstract class TrainCommand implements Callable<Integer> {
  @Mixin RunOptions run;
  @Mixin DeviceOptions device;

  /** Which tokens the verb learns. */
  abstract TrainingRun.Loss loss();

  @Override
  public Integer call() {
    RunConfig config = run.read().requireData();
    DeviceChoice choice = device.choose();
    TrainingRun.Outcome outcome;
    try (Interrupt interrupt = new Interrupt();
        ConsoleProgress progress = new ConsoleProgress()) {
      outcome = TrainingRun.run(config, loss(), choice, progress, interrupt::requested);
    }
    if (outcome.end() == Trainer.End.STOPPED) {
      return Main.INTERRUPTED;
    }
    System.out.println(outcome.checkpoint());
    return Main.DONE;
  }
}
