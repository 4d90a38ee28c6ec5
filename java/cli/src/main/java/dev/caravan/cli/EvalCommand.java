package dev.caravan.cli;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Unmatched;

/** {@code caravan eval}: refused until it is built. */
@Command(name = "eval")
final class EvalCommand implements Callable<Integer> {
  @Unmatched List<String> arguments = new ArrayList<>();

  @Override
  public Integer call() {
    throw new UserError("eval: not built yet; caravan score gives the likelihood of rows");
  }
}
