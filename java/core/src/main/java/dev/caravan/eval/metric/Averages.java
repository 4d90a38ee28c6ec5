package dev.caravan.eval.metric;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Ways to make one of many. */
public final class Averages {
  private Averages() {}

  /**
   * A score in percent as the share of the way from chance to perfect, in percent: 100 (x - low) /
   * (100 - low), negative where it is worse than chance (Chung et al. 2022, section 2.3).
   *
   * @param low what guessing scores, below 100
   */
  public static double overChance(double percent, double low) {
    return 100 * (percent - low) / (100 - low);
  }

  /**
   * Self-consistency (Wang et al. 2022, arXiv 2203.11171): the answer that most samples end in; of
   * equally frequent ones that which came up first. Samples without an answer have no vote.
   */
  public static Optional<String> majority(List<Optional<String>> answers) {
    Map<String, Integer> votes = new LinkedHashMap<>();
    for (Optional<String> answer : answers) {
      answer.ifPresent(text -> votes.merge(text, 1, Integer::sum));
    }
    String best = null;
    for (Map.Entry<String, Integer> vote : votes.entrySet()) {
      if (best == null || vote.getValue() > votes.get(best)) {
        best = vote.getKey();
      }
    }
    return Optional.ofNullable(best);
  }
}
