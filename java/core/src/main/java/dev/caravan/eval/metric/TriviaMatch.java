package dev.caravan.eval.metric;

import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * Exact match against normalised aliases as TriviaQA defines it (Joshi et al. 2017, and the
 * published evaluation script): lower case, an underscore and ASCII punctuation become spaces, the
 * articles a, an and the go, white space is made single.
 */
public final class TriviaMatch {
  private static final Pattern PUNCTUATION = Pattern.compile("[!-/:-@\\[-`{-~\u2018\u2019\u00b4]");
  private static final Pattern ARTICLES =
      Pattern.compile("\\b(a|an|the)\\b", Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern SPACES = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);

  private TriviaMatch() {}

  /** The form in which answers are compared. */
  public static String normalize(String text) {
    String lower = text.replace('_', ' ').toLowerCase(Locale.ROOT);
    String plain = PUNCTUATION.matcher(lower).replaceAll(" ");
    return SPACES.matcher(ARTICLES.matcher(plain).replaceAll(" ")).replaceAll(" ").strip();
  }

  /** 1 if the prediction is one of the aliases, else 0. */
  public static double exact(List<String> aliases, String prediction) {
    String given = normalize(prediction);
    return aliases.stream().anyMatch(alias -> normalize(alias).equals(given)) ? 1 : 0;
  }
}
