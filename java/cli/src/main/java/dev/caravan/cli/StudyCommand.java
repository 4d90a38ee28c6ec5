package dev.caravan.cli;

import dev.caravan.study.Study;
import dev.caravan.study.StudyFile;
import dev.caravan.study.StudyRun;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code caravan study}: many runs that vary a few things, and what comes of them. */
@Command(name = "study")
final class StudyCommand implements Callable<Integer> {
  @Parameters(index = "0", paramLabel = "STUDY")
  String name;

  @Option(names = "--output", paramLabel = "DIR")
  String output;

  @Mixin DeviceOptions device;

  @Override
  public Integer call() {
    Recipes.Text text = Recipes.study(name, output);
    Study study = StudyFile.parse(text.yaml(), text.where(), text.name());
    boolean complete;
    try (Interrupt interrupt = new Interrupt()) {
      StudyRun.Context context =
          new StudyRun.Context(
              device.choose(), ConsoleProgress::new, System.err::println, interrupt::requested);
      complete = StudyRun.run(study, context);
    }
    if (!complete) {
      return Main.INTERRUPTED;
    }
    System.out.println(study.output().resolve("results.csv"));
    System.out.println(study.output().resolve("plot.svg"));
    return Main.DONE;
  }
}
