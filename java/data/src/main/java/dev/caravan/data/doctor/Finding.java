package dev.caravan.data.doctor;

import java.util.Locale;

/**
 * Something about the data that its owner wants to know before training.
 *
 * @param severity how bad it is
 * @param check which check found it: one word, stable, for scripts
 * @param where file and line, task, or the key of the run file
 * @param what was found
 * @param advice what to do
 */
public record Finding(Severity severity, String check, String where, String what, String advice) {
  /** How bad a finding is. */
  public enum Severity {
    /** The run would not do what it is meant to. */
    SERIOUS,
    /** It may be meant so. */
    WARNING
  }

  static Finding serious(String check, String where, String what, String advice) {
    return new Finding(Severity.SERIOUS, check, where, what, advice);
  }

  static Finding warning(String check, String where, String what, String advice) {
    return new Finding(Severity.WARNING, check, where, what, advice);
  }

  /** Whether training on this data makes no sense. */
  public boolean isSerious() {
    return severity == Severity.SERIOUS;
  }

  /** One line: {@code serious: overlap: WHERE: WHAT; ADVICE}. */
  @Override
  public String toString() {
    return "%s: %s: %s: %s; %s"
        .formatted(severity.name().toLowerCase(Locale.ROOT), check, where, what, advice);
  }
}
