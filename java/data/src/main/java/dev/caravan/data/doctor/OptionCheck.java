package dev.caravan.data.doctor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Prompts that give their answer away: the right option always stands at the same place, is always
 * the longest, or the prompt ends with the answer. Also options that the answer is none of.
 */
public final class OptionCheck {
  private static final String CHECK = "options";

  /** Fewer rows say nothing about a habit. */
  private static final int ENOUGH = 20;

  private static final double ALWAYS = 0.95;
  private static final double OFTEN = 0.8;
  private static final double SOME = 0.1;

  /** Shorter answers stand at the end of a prompt by chance. */
  private static final int LONG_ENOUGH = 3;

  private final Map<String, Group> groups = new LinkedHashMap<>();

  /**
   * Takes a row.
   *
   * @param group rows that are alike: a file, or a task
   * @param where the row is from
   * @param prompt what is given
   * @param target what is learnt
   */
  public void add(String group, String where, String prompt, String target) {
    groups.computeIfAbsent(group, Group::new).add(where, prompt, target);
  }

  /** What was found in the rows so far. */
  public List<Finding> findings() {
    List<Finding> findings = new ArrayList<>();
    groups.values().forEach(group -> group.report(findings));
    return findings;
  }

  /** Counts over rows that are alike. */
  private static final class Group {
    private final String name;
    private int rows;
    private int answered;
    private int echoes;
    private String firstEcho;
    private int listed;
    private int unlisted;
    private String firstUnlisted;
    private int repeated;
    private String firstRepeated;
    private int longest;
    private final int[] places = new int[64];
    private final Set<List<String>> lists = new HashSet<>();

    Group(String name) {
      this.name = name;
    }

    void add(String where, String prompt, String target) {
      rows++;
      OptionList options = OptionList.of(prompt);
      String answer = target.strip();
      // Behind the last option a prompt ends with that.
      if (answer.length() >= LONG_ENOUGH
          && options.indexOf(answer) < 0
          && prompt.strip().toLowerCase(Locale.ROOT).endsWith(answer.toLowerCase(Locale.ROOT))) {
        echoes++;
        firstEcho = firstEcho == null ? where : firstEcho;
      }
      if (options.isEmpty()) {
        return;
      }
      listed++;
      if (options.repeats()) {
        repeated++;
        firstRepeated = firstRepeated == null ? where : firstRepeated;
      }
      int right = options.indexOf(target);
      if (right < 0) {
        unlisted++;
        firstUnlisted = firstUnlisted == null ? where : firstUnlisted;
        return;
      }
      answered++;
      lists.add(options.texts());
      places[Math.min(right, places.length - 1)]++;
      longest += options.longest() == right ? 1 : 0;
    }

    void report(List<Finding> findings) {
      // Options are told from a list that is no choice by the answers being among them.
      boolean isChoice = answered >= ENOUGH && answered > SOME * listed;
      int most = Arrays.stream(places).max().orElse(0);
      boolean differ = 2 * lists.size() > answered;
      if (isChoice && most >= ALWAYS * answered) {
        int place = 1;
        while (places[place - 1] != most) {
          place++;
        }
        String what =
            say("the answer is option %d in %,d of %,d rows", place, most, answered);
        findings.add(
            differ
                ? Finding.serious(
                    CHECK, name, what + ", so the place is learnt", "shuffle the options of a row")
                : Finding.warning(
                    CHECK, name, what + " with the same options", "balance the answers"));
      }
      if (isChoice && differ && longest >= OFTEN * answered) {
        findings.add(
            Finding.warning(
                CHECK,
                name,
                say("the answer is the longest option in %,d of %,d rows", longest, answered),
                "write wrong options of the same length"));
      }
      if (isChoice && unlisted > 0) {
        findings.add(
            Finding.warning(
                CHECK,
                firstUnlisted,
                say("the answer is none of the options in %,d of %,d rows", unlisted, listed),
                "write the target as its option or its label"));
      }
      if (isChoice && repeated > 0) {
        findings.add(
            Finding.warning(
                CHECK,
                firstRepeated,
                say("two options are the same in %,d of %,d rows", repeated, listed),
                "remove one of them"));
      }
      if (rows >= ENOUGH && echoes > SOME * rows) {
        findings.add(
            Finding.warning(
                CHECK,
                firstEcho,
                say("the prompt ends with its answer in %,d of %,d rows", echoes, rows),
                "take the answer out of the prompt, unless it is to be copied"));
      }
    }

    private static String say(String format, Object... values) {
      return String.format(Locale.ROOT, format, values);
    }
  }
}
