package dev.caravan.data.mix.words;

import java.util.List;
import java.util.Optional;

/**
 * How answer options are marked, told by the mark of the first: {@code (A)}, {@code a.}, {@code
 * 1)}; a mark without A, a or 1 is the same for all: {@code -}.
 *
 * @param before the label
 * @param first label: A, a or 1; 0 for none
 * @param behind the label
 */
public record OptionStyle(String before, char first, String behind) {
  private static final String FIRSTS = "Aa1";
  private static final String CLOSING = ")]}>";

  /** The styles among which is chosen where a task names none. */
  public static final List<OptionStyle> BUNDLED =
      List.of("-", "(A)", "A.", "A)", "A:", "[A]", "(a)", "a.", "a)", "1.", "1)", "(1)", "*", "A -")
          .stream()
          .map(mark -> of(mark).orElseThrow())
          .toList();

  /** The style whose first mark is {@code mark}; empty if that has no sign or several labels. */
  public static Optional<OptionStyle> of(String mark) {
    String text = mark.strip();
    int at = -1;
    for (int i = 0; i < text.length(); i++) {
      if (Character.isLetterOrDigit(text.charAt(i))) {
        if (at >= 0 || FIRSTS.indexOf(text.charAt(i)) < 0) {
          return Optional.empty();
        }
        at = i;
      }
    }
    if (text.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        at < 0
            ? new OptionStyle(text, (char) 0, "")
            : new OptionStyle(text.substring(0, at), text.charAt(at), text.substring(at + 1)));
  }

  /** Whether its marks tell options apart. */
  boolean isLabelled() {
    return first != 0;
  }

  /** How many options it has labels for. */
  int most() {
    return first == 'A' || first == 'a' ? 26 : Integer.MAX_VALUE;
  }

  /** The mark of option {@code number}, from 0. */
  String mark(int number) {
    return before + letter(number) + behind;
  }

  /**
   * What an answer says instead of the option's text: the label, in its brackets if it has some.
   */
  String label(int number) {
    boolean bracketed = !before.isEmpty() && behind.length() == 1 && CLOSING.contains(behind);
    return bracketed ? mark(number) : letter(number);
  }

  private String letter(int number) {
    if (first == 0) {
      return "";
    }
    return first == '1' ? Integer.toString(number + 1) : Character.toString(first + number);
  }

  @Override
  public String toString() {
    return mark(0);
  }
}
