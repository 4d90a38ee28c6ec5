package dev.caravan.cli;

import dev.caravan.data.UserError;
import dev.caravan.parallel.Rendezvous;
import dev.caravan.train.DeviceChoice;
import picocli.CommandLine.Option;

/** The options of every verb that computes. */
final class DeviceOptions {
  @Option(names = "--device")
  String device = "";

  @Option(names = "--threads")
  Integer threads;

  /** The device that is wanted and there; says on standard error which and why. */
  DeviceChoice choose() {
    if (threads != null && threads < 1) {
      throw new UserError("--threads: got " + threads + ", needs a whole number of at least 1");
    }
    int cores = Runtime.getRuntime().availableProcessors();
    DeviceChoice choice = 
        DeviceChoice.of(
            device,
            threads == null ? cores : threads,
            Rendezvous.localRank(System.getenv()));
    System.err.println(choice.line());
    return choice;
  }
}
