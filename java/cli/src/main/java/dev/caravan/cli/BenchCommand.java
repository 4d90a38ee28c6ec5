package dev.caravan.cli;

import picocli.CommandLine.Command;

/** {@code caravan bench}: what kernels and training take on this machine. */
@Command(
    name = "bench",
    subcommands = {
      BenchKernelsCommand.class,
      BenchTrainCommand.class,
      BenchCollectivesCommand.class
    })
final class BenchCommand {}
