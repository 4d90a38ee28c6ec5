package dev.caravan.data.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The answer options that a prompt lists: its last block of lines with marks, as {@code - a},
 * {@code (A) a}, {@code [A] a}, {@code A. a}, {@code 1) a}, {@code A - a} or {@code - A: a}, all or
 * none of them with an empty line behind. Labels count on, so that the Q and A of a dialogue are no
 * options.
 *
 * @param labels the marks' letters or numbers; "" for a dash
 * @param texts the options
 */
record OptionList(List<String> labels, List<String> texts) {
  private static final String DASH = "[-*\u2022]";
  private static final String NAME = "([A-Za-z0-9]{1,2})";
  private static final String LABEL =
      "(?:\\(" + NAME + "\\)|\\[" + NAME + "]|" + NAME + "(?:[.):]|\\s+-))";
  private static final Pattern LINE =
      Pattern.compile("\\s*(?:(?:" + DASH + "\\s+)?" + LABEL + "|" + DASH + ")\\s+(\\S.*)");

  private static final int NONE = -1;

  /** The options of a prompt; none where it lists fewer than two. */
  static OptionList of(String prompt) {
    List<String> labels = new ArrayList<>();
    List<String> texts = new ArrayList<>();
    List<String> lastLabels = List.of();
    List<String> lastTexts = List.of();
    boolean spaced = false;
    for (String line : (prompt + "\n.\n").split("\n", -1)) {
      Matcher matcher = LINE.matcher(line);
      boolean isOption = matcher.matches();
      String label = isOption ? label(matcher) : "";
      boolean follows = texts.isEmpty() || follows(labels.get(labels.size() - 1), label);
      if (isOption && follows) {
        labels.add(label);
        texts.add(matcher.group(4).strip());
        continue;
      }
      spaced = !isOption && line.isBlank() && (texts.size() == 1 || spaced && !texts.isEmpty());
      if (spaced) {
        continue;
      }
      if (texts.size() >= 2) {
        lastLabels = labels;
        lastTexts = texts;
      }
      labels = new ArrayList<>();
      texts = new ArrayList<>();
      if (isOption) {
        labels.add(label);
        texts.add(matcher.group(4).strip());
      }
    }
    return new OptionList(lastLabels, lastTexts);
  }

  private static String label(Matcher matcher) {
    for (int group = 1; group <= 3; group++) {
      if (matcher.group(group) != null) {
        return matcher.group(group);
      }
    }
    return "";
  }

  /** Whether a label is the one behind another: B behind A, 10 behind 9, none behind none. */
  private static boolean follows(String before, String label) {
    if (before.matches("[0-9]+") && label.matches("[0-9]+")) {
      return Integer.parseInt(label) == Integer.parseInt(before) + 1;
    }
    return before.isEmpty()
        ? label.isEmpty()
        : before.length() == 1 && label.length() == 1 && label.charAt(0) == before.charAt(0) + 1;
  }

  boolean isEmpty() {
    return texts.isEmpty();
  }

  /** Which option a target is: its label, its text, or its label with its text; -1 if none. */
  int indexOf(String target) {
    String answer = plain(target);
    for (int i = 0; i < texts.size(); i++) {
      String text = plain(texts.get(i));
      String label = plain(labels.get(i));
      boolean labelled = !label.isEmpty() && answer.equals(label);
      boolean both = !label.isEmpty() && answer.equals(label + " " + text);
      if (answer.equals(text) || labelled || both) {
        return i;
      }
    }
    return NONE;
  }

  /** Whether two options are the same. */
  boolean repeats() {
    return texts.stream().map(OptionList::plain).distinct().count() < texts.size();
  }

  /** The number of the option that is longer than all others; -1 if several are as long. */
  int longest() {
    int best = 0;
    boolean alone = true;
    for (int i = 1; i < texts.size(); i++) {
      int difference = texts.get(i).length() - texts.get(best).length();
      alone = difference == 0 ? false : difference > 0 || alone;
      best = difference > 0 ? i : best;
    }
    return alone ? best : NONE;
  }

  /** Lower case, single spaces, without the marks around a label and a stop at the end. */
  private static String plain(String text) {
    return text.strip()
        .toLowerCase(Locale.ROOT)
        .replaceAll("[()\\[\\]]", "")
        .replaceAll("^([a-z0-9]{1,2})[.:](\\s|$)", "$1$2")
        .replaceAll("\\.$", "")
        .replaceAll("\\s+", " ")
        .strip();
  }
}
