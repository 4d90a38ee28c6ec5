package dev.caravan.cli;

/**
 * Text whose lines are folded at spaces so that they fit a terminal, with marked parts. Marks have signs of
 * their own in the text; colour, where there is any, only helps to find them.
 */
final class Folded {
  private static final String MARK = "\u001b[32m";
  private static final String PLAIN = "\u001b[39m";

  private final StringBuilder text = new StringBuilder();
  private final int columns;
  private final boolean coloured;

  /** Columns of the line so far, and where in the text its last space is; -1 for none. */
  private int column;

  private int space = -1;
  private int columnBehindSpace;

  Folded(int columns, boolean coloured) {
    this.columns = columns;
    this.coloured = coloured;
  }

  /** Adds text. */
  void plain(String part) {
    part.codePoints().forEach(this::add);
  }

  /** Adds text that stands out. */
  void marked(String part) {
    text.append(coloured ? MARK : "");
    plain(part);
    text.append(coloured ? PLAIN : "");
  }

  private void add(int character) {
    // A space behind a full line is the break itself.
    if (character == '\n' || column == columns && character == ' ') {
      newLine();
      text.append('\n');
      return;
    }
    if (column == columns) {
      fold();
    }
    text.appendCodePoint(character);
    column++;
    if (character == ' ') {
      space = text.length() - 1;
      columnBehindSpace = column;
    }
  }

  /** Breaks the line at its last space, or right here when it has none. */
  private void fold() {
    if (space < 0) {
      text.append('\n');
      newLine();
      return;
    }
    text.setCharAt(space, '\n');
    int left = column - columnBehindSpace;
    newLine();
    column = left;
  }

  private void newLine() {
    column = 0;
    space = -1;
  }

  @Override
  public String toString() {
    return text.toString();
  }
}
