package dev.caravan.eval.metric;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Exact match and F1 of short answers as SQuAD defines them (Rajpurkar et al. 2016, section 6.1,
 * and the published evaluation script): lower case, without ASCII punctuation, without the articles
 * a, an and the, white space made single. The best of several references counts.
 */
public final class SquadMatch {
  private static final Pattern PUNCTUATION = Pattern.compile("[!-/:-@\\[-`{-~]");
  private static final Pattern ARTICLES =
      Pattern.compile("\\b(a|an|the)\\b", Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern SPACES = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);

  private SquadMatch() {}

  /** The form in which answers are compared. */
  public static String normalize(String text) {
    String plain = PUNCTUATION.matcher(text.toLowerCase(Locale.ROOT)).replaceAll("");
    return SPACES.matcher(ARTICLES.matcher(plain).replaceAll(" ")).replaceAll(" ").strip();
  }

  /** 1 if the prediction is one of the references, else 0. */
  public static double exact(List<String> references, String prediction) {
    String given = normalize(prediction);
    return references.stream().anyMatch(r -> normalize(r).equals(given)) ? 1 : 0;
  }

  /** The best F1 of the words in common, 0 to 1. */
  public static double f1(List<String> references, String prediction) {
    return references.stream().mapToDouble(r -> f1(r, prediction)).max().orElse(0);
  }

  private static double f1(String reference, String prediction) {
    String[] expected = words(reference);
    String[] given = words(prediction);
    Map<String, Integer> left = new HashMap<>();
    for (String word : expected) {
      left.merge(word, 1, Integer::sum);
    }
    int common = 0;
    for (String word : given) {
      int count = left.getOrDefault(word, 0);
      common += count > 0 ? 1 : 0;
      left.put(word, count - 1);
    }
    if (common == 0) {
      return 0;
    }
    double precision = (double) common / given.length;
    double recall = (double) common / expected.length;
    return 2 * precision * recall / (precision + recall);
  }

  private static String[] words(String text) {
    return Arrays.stream(normalize(text).split(" "))
        .filter(word -> !word.isEmpty())
        .toArray(String[]::new);
  }
}
