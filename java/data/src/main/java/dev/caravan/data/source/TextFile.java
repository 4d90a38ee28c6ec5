package dev.caravan.data.source;

import dev.caravan.data.UserError;
import java.nio.file.Path;

/**
 * A plain text file: one document, cut at a line end wherever it passes {@value #PIECE_CHARACTERS}
 * characters, so that a large file needs no more memory than a piece. Line ends become LF.
 */
final class TextFile extends ExampleReader {
  private static final int PIECE_CHARACTERS = 1 << 20;

  private final LineReader lines;
  private long line;
  private boolean more;

  TextFile(Path file) {
    lines = new LineReader(file);
    more = lines.next();
  }

  @Override
  public Example next() {
    if (!more) {
      return null;
    }
    StringBuilder text = new StringBuilder();
    line = lines.line();
    while (more && text.length() < PIECE_CHARACTERS) {
      text.append(lines.text()).append('\n');
      more = lines.next();
    }
    return new Example.Text(text.toString(), line == 1, !more);
  }

  @Override
  public long line() {
    return line;
  }

  @Override
  public UserError error(String what) {
    return UserError.at(lines.file(), line, what);
  }

  @Override
  public void close() {
    lines.close();
  }
}
