package dev.caravan.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What is known of where output goes. */
final class Terminal {
  /** Columns that every terminal has. */
  static final int COLUMNS = 80;

  private static final int OUT = 1;
  private static final int ERROR = 2;

  private Terminal() {}

  /** Whether standard output is a terminal that draws. */
  static boolean out() {
    return draws(OUT);
  }

  /** Whether standard error is a terminal that draws. */
  static boolean error() {
    return draws(ERROR);
  }

  /** Whether to use colours on standard output: on a terminal, unless NO_COLOR is set. */
  static boolean coloured() {
    return out() && System.getenv("NO_COLOR") == null;
  }

  /** System.console only tells about standard input and output together. */
  private static boolean draws(int descriptor) {
    if ("dumb".equals(System.getenv("TERM"))) {
      return false;
    }
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor)).toString();
      return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
    } catch (IOException | UnsupportedOperationException e) {
      return false;
    }
  }
}
