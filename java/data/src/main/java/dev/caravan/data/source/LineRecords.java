package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;

/** Records of one line each. Blank lines are skipped. */
abstract class LineRecords implements Records {
  private final LineReader lines;

  LineRecords(Path file) {
    lines = new LineReader(file);
  }

  /** The record of the current line. */
  abstract ObjectNode parse(LineReader line);

  @Override
  public final ObjectNode next() {
    return nextLine() ? parse(lines) : null;
  }

  @Override
  public final long line() {
    return lines.line();
  }

  @Override
  public final UserError error(String what) {
    return lines.error(what);
  }

  @Override
  public final void close() {
    lines.close();
  }

  /** Goes to the next line that is not blank. Returns false behind the last one. */
  final boolean nextLine() {
    do {
      if (!lines.next()) {
        return false;
      }
    } while (lines.isBlank());
    return true;
  }

  /** The line that {@link #nextLine} went to. */
  final LineReader current() {
    return lines;
  }
}
