package dev.caravan.data.doctor;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Rows of tokens that begin twice, never end, or whose labels are shifted. */
public final class RowCheck {
  /** From this share on, all rows are meant. */
  private static final double MOST = 0.5;

  private final RowSet rows;
  private final int looked;
  private final Tokenizer tokenizer;
  private int twice;
  private int answers;
  private int endless;
  private int shifted;
  private int firstTwice = -1;
  private int firstEndless = -1;
  private int firstShifted = -1;

  private RowCheck(RowSet rows, int looked, Tokenizer tokenizer) {
    this.rows = rows;
    this.looked = looked;
    this.tokenizer = tokenizer;
  }

  /**
   * Looks at the first rows.
   *
   * @param most rows to look at
   * @param tokenizer that made them; null where it is not known, which leaves only the labels
   */
  public static List<Finding> of(RowSet rows, int most, Tokenizer tokenizer) {
    RowCheck check = new RowCheck(rows, Math.min(most, rows.size()), tokenizer);
    for (int i = 0; i < check.looked; i++) {
      check.look(i, rows.row(i));
    }
    return check.findings();
  }

  private void look(int number, Row row) {
    if (row.length() == 0) {
      return;
    }
    int[] ids = row.inputIds();
    for (int at = 1; at < row.length(); at++) {
      int label = row.labels()[at];
      if (label != Row.NO_TARGET && label != ids[at]) {
        shifted++;
        firstShifted = firstShifted < 0 ? number : firstShifted;
        break;
      }
    }
    if (tokenizer == null) {
      return;
    }
    int bos = tokenizer.bosId();
    if (bos != Tokenizer.NONE && row.length() > 1 && ids[0] == bos && ids[1] == bos) {
      twice++;
      firstTwice = firstTwice < 0 ? number : firstTwice;
    }
    boolean hasPrompt = row.length() > 1 && row.labels()[1] == Row.NO_TARGET;
    if (hasPrompt && row.targets() > 0) {
      answers++;
      if (!ends(row)) {
        endless++;
        firstEndless = firstEndless < 0 ? number : firstEndless;
      }
    }
  }

  /** Whether a token at which generation stops is learnt. */
  private boolean ends(Row row) {
    int[] stops = tokenizer.stopIds();
    for (int at = row.length() - 1; at > 0; at--) {
      int label = row.labels()[at];
      if (label != Row.NO_TARGET && Arrays.stream(stops).anyMatch(stop -> stop == label)) {
        return true;
      }
    }
    return false;
  }

  private List<Finding> findings() {
    List<Finding> findings = new ArrayList<>();
    if (tokenizer != null && tokenizer.stopIds().length == 0) {
      findings.add(
          Finding.serious(
              "no-end-token",
              "tokenizer",
              "it has no end-of-sequence token, so no answer can be taught to end",
              "name one in tokenizer_config.json (eos_token)"));
    } else if (endless > 0) {
      findings.add(
          finding(
              endless > MOST * answers,
              "endless",
              firstEndless,
              say("%,d of %,d answers do not learn to end", endless, answers),
              "end the targets with the tokenizer's end token, or raise sequence.length where it"
                  + " was cut off"));
    }
    if (twice > 0) {
      findings.add(
          finding(
              true,
              "double-bos",
              firstTwice,
              say("%,d of %,d rows begin with the begin token twice", twice, looked),
              "take it out of the rows or the template: it is added by itself"));
    }
    if (shifted > 0) {
      findings.add(
          finding(
              shifted > MOST * looked,
              "labels",
              firstShifted,
              say("%,d of %,d rows have labels that are not the token there", shifted, looked),
              "give label i the token at position i: labels must not be shifted"));
    }
    return findings;
  }

  private Finding finding(boolean serious, String check, int row, String what, String advice) {
    return serious
        ? Finding.serious(check, rows.where(row), what, advice)
        : Finding.warning(check, rows.where(row), what, advice);
  }

  private static String say(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
