package dev.caravan.data.mix;

import dev.caravan.data.Nearest;
import java.util.List;
import java.util.Locale;

/** What a task's answers may be scored by, under the names that {@code eval} has for it. */
public enum TaskMetric {
  /** The share of answers that are exactly right. */
  EXACT_MATCH,
  /** The longest common subsequence of words with the right answer. */
  ROUGE_L,
  /** How often the right one of the task's options is the likeliest. */
  ACCURACY,
  /** The same, each option's log-likelihood divided by its tokens. */
  ACCURACY_PER_TOKEN,
  /** The same, divided by its characters. */
  ACCURACY_PER_CHARACTER,
  /** The same, divided by its UTF-8 bytes. */
  ACCURACY_PER_BYTE;

  /** Its name in files: in {@code metrics} of a task, and in reports. */
  public String id() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Whether it ranks the task's answer options, so that the model need not write. */
  public boolean ranks() {
    return this != EXACT_MATCH && this != ROUGE_L;
  }

  /**
   * The metric of a name.
   *
   * @param where for errors
   * @throws dev.caravan.data.UserError if there is none
   */
  static TaskMetric of(String id, String where) {
    return Nearest.named(where + ": ", "metric", id, List.of(values()), TaskMetric::id);
  }
}
