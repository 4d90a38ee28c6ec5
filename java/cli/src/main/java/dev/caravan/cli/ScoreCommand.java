package dev.caravan.cli;

import dev.caravan.eval.Scoring;
import dev.caravan.train.Cwd;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunFile;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan score}: the likelihood of each row of a file. */
@Command(name = "score")
final class ScoreCommand implements Callable<Integer> {
  @Option(names = "--model", required = true, paramLabel = "DIR")
  String model;

  @Option(names = "--data", required = true, paramLabel = "FILE")
  String data;

  @Option(names = "--out", required = true, paramLabel = "FILE")
  String out;

  @Option(names = "--set", paramLabel = "KEY=VALUE")
  List<String> assignments = new ArrayList<>();

  @Mixin DeviceOptions device;

  @Override
  public Integer call() {
    RunConfig config =
        RunFile.forScore(ModelFolders.resolve(model), Cwd.resolve(data), assignments);
    Scoring.run(config, device.choose(), Cwd.resolve(out));
    return Main.DONE;
  }
}
