package dev.caravan.cli;

import dev.caravan.train.RunConfig;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The recipe and what is set over it. */
final class RunOptions {
  @Parameters(index = "0", paramLabel = "RECIPE")
  String recipe;

  @Option(names = "--set", paramLabel = "KEY=VALUE")
  List<String> assignments = new ArrayList<>();

  /** The resolved run. */
  RunConfig read() {
    return Recipes.read(recipe, assignments);
  }
}
