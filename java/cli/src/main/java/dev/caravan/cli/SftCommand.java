package dev.caravan.cli;

import dev.caravan.train.TrainingRun;
import picocli.CommandLine.Command;

/** {@code caravan sft}: trains on instructions. */
@Command(name = "sft")
final class SftCommand extends TrainCommand {
  @Override
  TrainingRun.Loss loss() {
    return TrainingRun.Loss.TARGETS;
  }
}
