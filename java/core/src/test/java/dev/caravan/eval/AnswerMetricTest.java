package dev.caravan.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.mix.AnswerChoice;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class AnswerMetricTest {
  private static double percent(AnswerMetric metric, ExactMatch.Answer... answers) {
    return metric.percent(List.of(answers));
  }

  /** An answer is measured against the nearest of all that are right, exactly against the first. */
  @Test
  void rougeTakesTheNearestReference() {
    ExactMatch.Item item =
        new ExactMatch.Item(
            new int[] {1}, "p", "red", List.of("dark blue", "green"), Optional.empty());
    ExactMatch.Answer blue = new ExactMatch.Answer(item, "dark blue", new double[0]);
    ExactMatch.Answer red = new ExactMatch.Answer(item, "red", new double[0]);
    ExactMatch.Answer half = new ExactMatch.Answer(item, "blue", new double[0]);
    assertEquals(100, percent(AnswerMetric.ROUGE_L, blue, red), 1e-12);
    assertEquals(100 * 2 / 3.0, percent(AnswerMetric.ROUGE_L, half), 1e-12);
    assertEquals(50, percent(AnswerMetric.EXACT_MATCH, blue, red), 1e-12);
  }

  /** By each measure another option is the likeliest. */
  @Test
  void optionsAreRankedByTheirLength() {
    int[][] ids = {{1}, {1, 2}, {1, 2, 3}, {1, 2}};
    List<String> texts = List.of("ab", "abcd", "abc", "\u00e9\u00e9\u00e9\u00e9\u00e9");
    double[] logprobs = {-3, -3.1, -3.9, -4};
    List<AnswerMetric> metrics =
        List.of(
            AnswerMetric.ACCURACY,
            AnswerMetric.ACCURACY_PER_TOKEN,
            AnswerMetric.ACCURACY_PER_CHARACTER,
            AnswerMetric.ACCURACY_PER_BYTE);
    // Sum; -3, -1.55, -1.3, -2; -1.5, -0.775, -1.3, -0.8; the last has 10 bytes, so -0.4.
    List<Integer> likeliest = List.of(0, 2, 1, 3);
    for (int m = 0; m < metrics.size(); m++) {
      for (int right = 0; right < ids.length; right++) {
        AnswerChoice choice = new AnswerChoice(ids, texts, right);
        ExactMatch.Item item =
            new ExactMatch.Item(new int[] {1}, "p", "x", List.of(), Optional.of(choice));
        assertEquals(
            likeliest.get(m) == right ? 100 : 0,
            percent(metrics.get(m), new ExactMatch.Answer(item, "", logprobs)),
            metrics.get(m).id());
      }
    }
  }
}
