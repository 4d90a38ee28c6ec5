package dev.caravan.eval.metric;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * ROUGE-L, the F-measure of the longest common subsequence of words (Lin 2004, section 3), as
 * Google's rouge_score computes it: words are runs of a-z and 0-9 in lower case, stemmed on request
 * where they are longer than three letters; precision and recall count alike.
 */
public final class RougeL {
  private static final Pattern NO_WORD = Pattern.compile("[^a-z0-9]+");
  private static final int LONGEST_UNSTEMMED = 3;

  private RougeL() {}

  /**
   * The F-measure, 0 to 1; 0 where either text has no word.
   *
   * @param stem whether words are reduced to their stems first
   */
  public static double score(String reference, String prediction, boolean stem) {
    List<String> expected = words(reference, stem);
    List<String> given = words(prediction, stem);
    if (expected.isEmpty() || given.isEmpty()) {
      return 0;
    }
    double common = commonSubsequence(expected, given);
    double precision = common / given.size();
    double recall = common / expected.size();
    return common == 0 ? 0 : 2 * precision * recall / (precision + recall);
  }

  /** The score against the reference that is nearest. */
  public static double best(List<String> references, String prediction, boolean stem) {
    double best = 0;
    for (String reference : references) {
      best = Math.max(best, score(reference, prediction, stem));
    }
    return best;
  }

  static List<String> words(String text, boolean stem) {
    List<String> words = new ArrayList<>();
    for (String word : NO_WORD.split(text.toLowerCase(Locale.ROOT))) {
      if (!word.isEmpty()) {
        words.add(stem && word.length() > LONGEST_UNSTEMMED ? PorterStemmer.stem(word) : word);
      }
    }
    return words;
  }

  private static int commonSubsequence(List<String> a, List<String> b) {
    int[] row = new int[b.size() + 1];
    for (String word : a) {
      int diagonal = 0;
      for (int j = 1; j <= b.size(); j++) {
        int above = row[j];
        row[j] = word.equals(b.get(j - 1)) ? diagonal + 1 : Math.max(above, row[j - 1]);
        diagonal = above;
      }
    }
    return row[b.size()];
  }
}
