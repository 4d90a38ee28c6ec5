package dev.caravan.eval;

import dev.caravan.data.mix.AnswerChoice;
import dev.caravan.data.mix.TaskMetric;
import dev.caravan.eval.metric.RougeL;
import dev.caravan.eval.suite.Scoring.Likelihood;
import java.util.List;
import java.util.function.ToDoubleFunction;

/** How a model's answers are scored against the expected ones. */
public enum AnswerMetric {
  /** The share of answers that are exactly right. */
  EXACT_MATCH(TaskMetric.EXACT_MATCH, "exact match", answer -> answer.right() ? 1 : 0),
  /** {@link RougeL}, with stems, against the nearest of the right answers. */
  ROUGE_L(
      TaskMetric.ROUGE_L,
      "ROUGE-L",
      answer -> RougeL.best(answer.item().references(), answer.given(), true)),
  /** How often the right option is the likeliest. */
  ACCURACY(TaskMetric.ACCURACY, "accuracy", ranked(Likelihood.SUM)),
  /** The same by the likelihood divided by the option's tokens. */
  ACCURACY_PER_TOKEN(
      TaskMetric.ACCURACY_PER_TOKEN, "accuracy per token", ranked(Likelihood.PER_TOKEN)),
  /** The same, divided by its characters. */
  ACCURACY_PER_CHARACTER(
      TaskMetric.ACCURACY_PER_CHARACTER,
      "accuracy per character",
      ranked(Likelihood.PER_CHARACTER)),
  /** The same, divided by its UTF-8 bytes. */
  ACCURACY_PER_BYTE(TaskMetric.ACCURACY_PER_BYTE, "accuracy per byte", ranked(Likelihood.PER_BYTE));

  private final TaskMetric named;
  private final String words;
  private final ToDoubleFunction<ExactMatch.Answer> score;

  AnswerMetric(TaskMetric named, String words, ToDoubleFunction<ExactMatch.Answer> score) {
    this.named = named;
    this.words = words;
    this.score = score;
  }

  /** Its name in files: in {@code metrics} of a task, and in reports. */
  public String id() {
    return named.id();
  }

  /** What a task names in {@code metrics}. */
  TaskMetric named() {
    return named;
  }

  /** Its name for people. */
  public String words() {
    return words;
  }

  private static ToDoubleFunction<ExactMatch.Answer> ranked(Likelihood measure) {
    return answer -> {
      AnswerChoice choice = answer.item().choice().orElseThrow();
      double[] sums = answer.logprobs();
      return measure.best(sums, sums, choice.ids(), choice.texts()) == choice.right() ? 1 : 0;
    };
  }

  /** The mean over answers, percent. */
  public double percent(List<ExactMatch.Answer> answers) {
    return 100 * answers.stream().mapToDouble(score).average().orElse(0);
  }
}
