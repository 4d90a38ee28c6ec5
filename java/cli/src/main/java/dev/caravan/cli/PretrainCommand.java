package dev.caravan.cli;

import dev.caravan.train.TrainingRun;
import picocli.CommandLine.Command;

/** {@code caravan pretrain}: trains on raw text, with a loss on every token. */
@Command(name = "pretrain")
final class PretrainCommand extends TrainCommand {
  @Override
  TrainingRun.Loss loss() {
    return TrainingRun.Loss.EVERY_TOKEN;
  }
}
