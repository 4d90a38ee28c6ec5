package dev.caravan.data.doctor;

import dev.caravan.data.mix.MixtureReport;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Tasks of a mixture that come up far more often than their rows allow, or never. */
public final class RateCheck {
  /** Repeated more often than this, rows are learnt by heart. */
  private static final double MANY = 10;

  private RateCheck() {}

  /** Looks at what a run draws. */
  public static List<Finding> of(MixtureReport mixture) {
    List<Finding> findings = new ArrayList<>();
    for (MixtureReport.Line line : mixture.lines()) {
      if (line.repeats() > MANY) {
        findings.add(
            Finding.warning(
                "repeats",
                "task " + line.task(),
                String.format(
                    Locale.ROOT,
                    "each of its %,d rows comes up %.1f times",
                    line.rows(),
                    line.repeats()),
                "lower its rate, or train for fewer steps"));
      }
      if (line.rate() == 0) {
        findings.add(
            Finding.warning(
                "repeats",
                "task " + line.task(),
                "it is never drawn",
                "give it a rate above 0, or take it out of the mixture"));
      }
    }
    return findings;
  }
}
