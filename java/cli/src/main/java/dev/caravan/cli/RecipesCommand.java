package dev.caravan.cli;

import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code caravan recipes}: lists, shows or copies the bundled recipes. */
@Command(
    name = "recipes",
    subcommands = {RecipesCommand.Show.class, RecipesCommand.Copy.class})
final class RecipesCommand implements Callable<Integer> {
  @Override
  public Integer call() {
    for (Map.Entry<String, String> recipe : Recipes.list().entrySet()) {
      System.out.printf("%-16s %s%n", recipe.getKey(), recipe.getValue());
    }
    return Main.DONE;
  }

  /** {@code caravan recipes show NAME}. */
  @Command(name = "show")
  static final class Show implements Callable<Integer> {
    @Parameters(paramLabel = "NAME")
    String name;

    @Override
    public Integer call() {
      System.out.print(Recipes.show(name));
      return Main.DONE;
    }
  }

  /** {@code caravan recipes copy NAME FILE}. */
  @Command(name = "copy")
  static final class Copy implements Callable<Integer> {
    @Parameters(index = "0", paramLabel = "NAME")
    String name;

    @Parameters(index = "1", paramLabel = "FILE")
    String file;

    @Override
    public Integer call() {
      Recipes.copy(name, file);
      return Main.DONE;
    }
  }
}
