package dev.caravan.cli;

import dev.caravan.train.RunConfig;
import picocli.CommandLine.Command;

/** {@code caravan sft}: trains on instructions. */
@Command(name = "sft")
final class SftCommand extends TrainCommand {
  @Override
  RunConfig config() {
    return run.read().requireData();
  }
}
