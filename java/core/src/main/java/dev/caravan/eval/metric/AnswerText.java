package dev.caravan.eval.metric;

import java.math.BigDecimal;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Finds the answer in what a model wrote after thinking aloud. */
public final class AnswerText {
  private static final Pattern MARKER = Pattern.compile("(?i)the answer is:?|####");
  private static final Pattern NUMBER =
      Pattern.compile("[-\u2212]?\\d[\\d,\u00a0\u202f]*(?:\\.\\d+)?");

  private AnswerText() {}

  /**
   * What follows the first 'the answer is' or '####' up to the end of its line, without the full
   * stop that ends the sentence; empty where neither is written.
   */
  public static Optional<String> afterMarker(String text) {
    Matcher marker = MARKER.matcher(text);
    if (!marker.find()) {
      return Optional.empty();
    }
    String rest = text.substring(marker.end()).stripLeading();
    String line = rest.lines().findFirst().orElse("").strip();
    return Optional.of(line.endsWith(".") ? line.substring(0, line.length() - 1).strip() : line);
  }

  /** The number behind the first marker, in plain digits; empty where there is none. */
  public static Optional<String> numberAfterMarker(String text) {
    return afterMarker(text).flatMap(AnswerText::firstNumber);
  }

  /** The last number of a text, in plain digits. */
  public static Optional<String> lastNumber(String text) {
    Matcher number = NUMBER.matcher(text);
    String last = null;
    while (number.find()) {
      last = number.group();
    }
    return Optional.ofNullable(last).map(AnswerText::plain);
  }

  private static Optional<String> firstNumber(String text) {
    Matcher number = NUMBER.matcher(text);
    return number.find() ? Optional.of(plain(number.group())) : Optional.empty();
  }

  /** Without thousands separators and trailing zeros: 1,250.00 is 1250. */
  public static String plain(String number) {
    String digits = number.strip().replaceAll("[,\u00a0\u202f]", "").replace('\u2212', '-');
    try {
      BigDecimal value = new BigDecimal(digits).stripTrailingZeros();
      return value.signum() == 0 ? "0" : value.toPlainString();
    } catch (NumberFormatException e) {
      return number.strip();
    }
  }

  /** The letter of an option behind the marker, as in (B) or B.; empty where there is none. */
  public static Optional<String> letterAfterMarker(String text) {
    Matcher letter = Pattern.compile("\\(?([A-Z])\\b").matcher(afterMarker(text).orElse(""));
    return letter.find() ? Optional.of(letter.group(1).toUpperCase(Locale.ROOT)) : Optional.empty();
  }
}
