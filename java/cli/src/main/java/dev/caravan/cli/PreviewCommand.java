package dev.caravan.cli;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Unmatched;

/** {@code caravan preview}: what training would see. */
@Command(name = "preview")
final class PreviewCommand implements Callable<Integer> {
  @Unmatched List<String> arguments = new ArrayList<>();

  @Override
  public Integer call() {
    throw new UserError("preview: not built yet");
  }
}
