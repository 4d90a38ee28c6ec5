package dev.caravan.train;

import dev.caravan.data.PairSet;
import dev.caravan.data.mix.Losses;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.task.Distribution;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What a task of a mixture gives to the first examples of a run.
 *
 * @param task its name
 * @param examples of it among those that were made
 * @param truncated examples that lost tokens and are kept
 * @param tokensCut that they lost
 * @param emptyTarget examples left out because they have no target
 * @param cutTarget examples left out because truncation took their whole target
 * @param targetTruncated of the truncated ones, pairs whose target lost tokens
 * @param lengths tokens of an example that is kept; of a pair, those of its source
 * @param targetLengths target tokens of an example that is kept
 */
public record TaskShare(
    String task,
    long examples,
    long truncated,
    long tokensCut,
    long emptyTarget,
    long cutTarget,
    long targetTruncated,
    Distribution lengths,
    Distribution targetLengths) {

  /** Of every task, in the mixture's order, from its first {@code most} examples. */
  static List<TaskShare> of(Mixture mixture, int most) {
    int tasks = mixture.names().size();
    PairSet pairs = mixture.rows().pairs();
    List<IntStream.Builder> lengths = new ArrayList<>();
    List<IntStream.Builder> targets = new ArrayList<>();
    for (int t = 0; t < tasks; t++) {
      lengths.add(IntStream.builder());
      targets.add(IntStream.builder());
    }
    for (int k = 0; k < Math.min(most, mixture.rows().size()); k++) {
      int task = mixture.rows().order().at(k).task();
      if (mixture.rows().length(k) > 0) {
        int source = pairs.sourceLength(k); // 0 where there are no pairs
        lengths.get(task).add(source > 0 ? source : mixture.rows().length(k));
        targets.get(task).add(mixture.rows().targets(k));
      }
    }
    Losses losses = mixture.rows().losses();
    List<TaskShare> shares = new ArrayList<>();
    for (int t = 0; t < tasks; t++) {
      shares.add(
          new TaskShare(
              mixture.names().get(t),
              losses.made(t),
              losses.truncated(t),
              losses.tokensCut(t),
              losses.emptyTarget(t),
              losses.cutTarget(t),
              losses.targetTruncated(t),
              Distribution.of(lengths.get(t).build()),
              Distribution.of(targets.get(t).build())));
    }
    return shares;
  }
}
