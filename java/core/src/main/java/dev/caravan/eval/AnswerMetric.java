package dev.caravan.eval;

import dev.caravan.eval.metric.RougeL;
import java.util.List;

/** How answers that a model wrote are scored against the expected ones. */
public enum AnswerMetric {
  /** The share of answers that are exactly right. */
  EXACT_MATCH("exact_match", "exact match") {
    @Override
    double score(ExactMatch.Answer answer) {
      return answer.right() ? 1 : 0;
    }
  },
  /** {@link RougeL}, with stems, against the one expected answer. */
  ROUGE_L("rouge_l", "ROUGE-L") {
    @Override
    double score(ExactMatch.Answer answer) {
      return RougeL.score(answer.item().expected(), answer.given(), true);
    }
  };

  private final String id;
  private final String words;

  AnswerMetric(String id, String words) {
    this.id = id;
    this.words = words;
  }

  /** Its name in files: in {@code metrics} of a task, and in reports. */
  public String id() {
    return id;
  }

  /** Its name for people. */
  public String words() {
    return words;
  }

  abstract double score(ExactMatch.Answer answer);

  /** The mean over answers, percent. */
  public double percent(List<ExactMatch.Answer> answers) {
    return 100 * answers.stream().mapToDouble(this::score).average().orElse(0);
  }
}
