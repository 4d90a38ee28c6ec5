package dev.caravan.eval.suite;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Collects the scores of a paper's questions and makes results of them. */
final class Marks {
  private final Paper paper;
  private final String metric;
  private final String scoring;
  private final Map<String, Group> groups = new LinkedHashMap<>();
  private final MessageDigest all = digest();

  private static final class Group {
    private final MessageDigest prompts = digest();
    private double sum;
    private double chance;
    private int count;
  }

  /**
   * @param metric last part of the name, for example _accuracy
   * @param scoring how an answer is scored
   */
  Marks(Paper paper, String metric, String scoring) {
    this.paper = paper;
    this.metric = metric;
    this.scoring = scoring;
  }

  /**
   * Adds a question.
   *
   * @param score 0 to 1
   * @param chance what guessing scores, 0 to 1
   */
  void add(Fitting.Put put, double score, double chance) {
    Group group = groups.computeIfAbsent(put.question().group(), name -> new Group());
    group.sum += score;
    group.chance += chance;
    group.count++;
    for (MessageDigest digest : List.of(all, group.prompts)) {
      hash(digest, put.text());
      if (put.question() instanceof Question.Choice choice) {
        for (Question.Option option : choice.options()) {
          hash(digest, option.lead() + option.text());
        }
      }
    }
  }

  private static void hash(MessageDigest digest, String text) {
    digest.update(text.getBytes(StandardCharsets.UTF_8));
    digest.update((byte) 0);
  }

  /** The mean of all, then, where there are several groups, that of each. */
  List<Result> results(Result.Counts counts) {
    boolean ofGroups = paper.mean() == Paper.Mean.OF_GROUPS;
    double value = 0;
    double chance = 0;
    int n = 0;
    int weight = 0;
    for (Map.Entry<String, Group> entry : groups.entrySet()) {
      Group group = entry.getValue();
      if (!paper.excluded().contains(entry.getKey())) {
        value += ofGroups ? group.sum / group.count : group.sum;
        chance += ofGroups ? group.chance / group.count : group.chance;
        weight += ofGroups ? 1 : group.count;
        n += group.count;
      }
    }
    String how = scoring + "; " + paper.mean().words();
    if (ofGroups) {
      how += " (" + weight + ")";
    }
    if (!paper.excluded().isEmpty()) {
      how += " without " + String.join(", ", paper.excluded());
    }
    List<Result> results = new ArrayList<>();
    if (weight > 0) {
      results.add(result("", value / weight, chance / weight, n, how, hex(all), counts));
    }
    if (groups.size() > 1) {
      for (Map.Entry<String, Group> entry : groups.entrySet()) {
        Group g = entry.getValue();
        results.add(
            result(
                "/" + entry.getKey(),
                g.sum / g.count,
                g.chance / g.count,
                g.count,
                scoring,
                hex(g.prompts),
                new Result.Counts(0, 0, 0)));
      }
    }
    return results;
  }

  private Result result(
      String group,
      double value,
      double chance,
      int n,
      String how,
      String hash,
      Result.Counts counts) {
    return new Result(
        paper.name() + metric + group,
        100 * value,
        n,
        paper.split(),
        paper.shots(),
        how,
        hash,
        100 * chance,
        counts,
        group.isEmpty() ? paper.notes() : List.of());
  }

  private static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
