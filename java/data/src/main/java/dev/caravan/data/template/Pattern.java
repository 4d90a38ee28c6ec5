package dev.caravan.data.template;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * Text with fields in braces, {@code Question: {prompt}}; {@code {{} and {@code }}} stand for a
 * brace.
 */
final class Pattern {
  private static final String OPTIONS = "options";

  /** A piece of a pattern: literal text, or the name of a field. */
  private record Part(String text, boolean isField) {}

  private final List<Part> parts;

  private Pattern(List<Part> parts) {
    this.parts = List.copyOf(parts);
  }

  /**
   * Reads a pattern.
   *
   * @param where what to blame, for errors
   * @throws UserError for a brace that is not closed or not opened
   */
  static Pattern parse(String text, String where) {
    List<Part> parts = new ArrayList<>();
    StringBuilder literal = new StringBuilder();
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      boolean doubled = i + 1 < text.length() && text.charAt(i + 1) == c;
      if ((c == '{' || c == '}') && doubled) {
        literal.append(c);
        i++;
      } else if (c == '{') {
        int close = text.indexOf('}', i);
        if (close < 0) {
          throw new UserError(where + ": '{' is never closed; write {{ for a brace");
        }
        parts.add(new Part(literal.toString(), false));
        parts.add(new Part(text.substring(i + 1, close).trim(), true));
        literal.setLength(0);
        i = close;
      } else if (c == '}') {
        throw new UserError(where + ": '}' closes nothing; write }} for a brace");
      } else {
        literal.append(c);
      }
    }
    parts.add(new Part(literal.toString(), false));
    return new Pattern(parts);
  }

  /** The names of its fields, in order. */
  List<String> fields() {
    return parts.stream().filter(Part::isField).map(Part::text).toList();
  }

  /** Its texts that are no fields. */
  List<String> literals() {
    return parts.stream().filter(part -> !part.isField()).map(Part::text).toList();
  }

  /**
   * The text with every field replaced by its value. Line ends before {@code {options}} go with it
   * where it is empty, as for examples that show none.
   */
  String fill(Function<String, String> values) {
    StringBuilder text = new StringBuilder();
    for (Part part : parts) {
      String piece = part.isField() ? values.apply(part.text()) : part.text();
      if (piece.isEmpty() && part.isField() && part.text().equals(OPTIONS)) {
        while (!text.isEmpty() && text.charAt(text.length() - 1) == '\n') {
          text.setLength(text.length() - 1);
        }
      }
      text.append(piece);
    }
    return text.toString();
  }

  @Override
  public String toString() {
    return parts.toString();
  }
}
