package dev.caravan.data.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Rows that teach nothing, and rows that lost their end to truncation. */
public final class LossCheck {
  /** From this share of all rows on, or the next of a file or task, losing them is serious. */
  private static final double MANY = 0.05;

  private static final double MOST = 0.5;

  private LossCheck() {}

  /**
   * What became of some rows.
   *
   * @param where file or task
   * @param read rows that were looked at
   * @param truncated rows that lost tokens and are kept
   * @param tokensCut that they lost
   * @param emptyTarget rows without a target
   * @param cutTarget rows whose whole target was cut off
   */
  public record Counts(
      String where, long read, long truncated, long tokensCut, long emptyTarget, long cutTarget) {}

  /** Looks at the counts of every file or task. */
  public static List<Finding> of(List<Counts> all) {
    List<Finding> findings = new ArrayList<>();
    double enough = MANY * all.stream().mapToLong(Counts::read).sum();
    boolean manyEmpty = all.stream().mapToLong(Counts::emptyTarget).sum() > enough;
    boolean manyCut = all.stream().mapToLong(Counts::cutTarget).sum() > enough;
    for (Counts c : all) {
      add(
          findings,
          "no-target",
          c,
          c.emptyTarget(),
          manyEmpty,
          "have no target and teach nothing",
          "fill the target field, map it with fields, or remove the rows");
      add(
          findings,
          "cut-target",
          c,
          c.cutTarget(),
          manyCut,
          "lose their whole target to truncation and teach nothing",
          "raise sequence.length, or shorten the prompts");
      if (c.truncated() > 0) {
        findings.add(
            finding(
                false,
                "truncated",
                c,
                c.truncated(),
                String.format(
                    Locale.ROOT, "are cut, by %,d tokens each", c.tokensCut() / c.truncated()),
                "raise sequence.length, or shorten the rows"));
      }
    }
    return findings;
  }

  private static void add(
      List<Finding> findings,
      String check,
      Counts c,
      long rows,
      boolean many,
      String what,
      String advice) {
    if (rows > 0) {
      findings.add(finding(many || rows > MOST * c.read(), check, c, rows, what, advice));
    }
  }

  private static Finding finding(
      boolean serious, String check, Counts c, long rows, String what, String advice) {
    String said =
        String.format(
            Locale.ROOT,
            "%,d of %,d rows (%.1f %%) %s",
            rows,
            c.read(),
            100.0 * rows / c.read(),
            what);
    return serious
        ? Finding.serious(check, c.where(), said, advice)
        : Finding.warning(check, c.where(), said, advice);
  }
}
