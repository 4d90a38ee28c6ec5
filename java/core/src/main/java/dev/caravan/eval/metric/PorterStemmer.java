package dev.caravan.eval.metric;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Strips suffixes of English words (Porter 1980, An algorithm for suffix stripping), with the
 * deviations that NLTK makes by default, because Google's rouge_score stems with NLTK: a short
 * table of irregular words, other rules for -ies, -ied and -y, -bli for -abli, and two more rules
 * of step 2. Words are lower case; whatever is not one of aeiou, digits too, counts as a consonant.
 */
public final class PorterStemmer {
  private static final Map<String, String> IRREGULAR = new HashMap<>();

  static {
    IRREGULAR.put("skies", "sky");
    IRREGULAR.put("dying", "die");
    IRREGULAR.put("lying", "lie");
    IRREGULAR.put("tying", "tie");
    IRREGULAR.put("innings", "inning");
    IRREGULAR.put("outings", "outing");
    IRREGULAR.put("cannings", "canning");
    for (String itself :
        List.of(
            "sky", "news", "inning", "outing", "canning", "howe", "proceed", "exceed", "succeed")) {
      IRREGULAR.put(itself, itself);
    }
  }

  /** Suffix and what replaces it, in the order in which they are tried. */
  private static final String[][] STEP_2 = {
    {"ational", "ate"},
    {"tional", "tion"},
    {"enci", "ence"},
    {"anci", "ance"},
    {"izer", "ize"},
    {"bli", "ble"},
    {"alli", "al"},
    {"entli", "ent"},
    {"eli", "e"},
    {"ousli", "ous"},
    {"ization", "ize"},
    {"ation", "ate"},
    {"ator", "ate"},
    {"alism", "al"},
    {"iveness", "ive"},
    {"fulness", "ful"},
    {"ousness", "ous"},
    {"aliti", "al"},
    {"iviti", "ive"},
    {"biliti", "ble"},
    {"fulli", "ful"},
  };

  private static final String[][] STEP_3 = {
    {"icate", "ic"},
    {"ative", ""},
    {"alize", "al"},
    {"iciti", "ic"},
    {"ical", "ic"},
    {"ful", ""},
    {"ness", ""},
  };

  private static final String[] STEP_4 = {
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
    "ism", "ate", "iti", "ous", "ive", "ize"
  };

  private PorterStemmer() {}

  /** The stem of a word in lower case. */
  public static String stem(String word) {
    if (IRREGULAR.containsKey(word)) {
      return IRREGULAR.get(word);
    }
    if (word.length() <= 2) {
      return word;
    }
    String stem = step1c(step1b(step1a(word)));
    return step5(step4(replaceFirst(step2(stem), STEP_3)));
  }

  private static String step1a(String word) {
    if (word.endsWith("ies")) {
      return cut(word, word.length() == 4 ? 1 : 2);
    }
    if (word.endsWith("sses")) {
      return cut(word, 2);
    }
    return word.endsWith("s") && !word.endsWith("ss") ? cut(word, 1) : word;
  }

  private static String step1b(String word) {
    if (word.endsWith("ied")) {
      return cut(word, word.length() == 4 ? 1 : 2);
    }
    if (word.endsWith("eed")) {
      return measure(cut(word, 3)) > 0 ? cut(word, 1) : word;
    }
    for (String suffix : List.of("ed", "ing")) {
      if (word.endsWith(suffix) && hasVowel(cut(word, suffix.length()))) {
        return mend(cut(word, suffix.length()));
      }
    }
    return word;
  }

  /** What is done to a word that has lost -ed or -ing. */
  private static String mend(String stem) {
    if (stem.endsWith("at") || stem.endsWith("bl") || stem.endsWith("iz")) {
      return stem + "e";
    }
    if (endsInDouble(stem)) {
      return "lsz".indexOf(stem.charAt(stem.length() - 1)) < 0 ? cut(stem, 1) : stem;
    }
    return measure(stem) == 1 && endsClosed(stem) ? stem + "e" : stem;
  }

  private static String step1c(String word) {
    boolean changes =
        word.endsWith("y") && word.length() > 2 && isConsonant(word, word.length() - 2);
    return changes ? cut(word, 1) + "i" : word;
  }

  private static String step2(String word) {
    if (word.endsWith("alli") && measure(cut(word, 4)) > 0) {
      return step2(cut(word, 2));
    }
    boolean known = false;
    for (String[] rule : STEP_2) {
      known |= word.endsWith(rule[0]);
    }
    if (!known && word.endsWith("logi")) {
      return measure(cut(word, 3)) > 0 ? cut(word, 1) : word;
    }
    return replaceFirst(word, STEP_2);
  }

  private static String step4(String word) {
    for (String suffix : STEP_4) {
      if (word.endsWith(suffix)) {
        String stem = cut(word, suffix.length());
        Predicate<String> allowed =
            suffix.equals("ion") ? s -> s.endsWith("s") || s.endsWith("t") : s -> true;
        return measure(stem) > 1 && allowed.test(stem) ? stem : word;
      }
    }
    return word;
  }

  private static String step5(String word) {
    String result = word;
    if (word.endsWith("e")) {
      String stem = cut(word, 1);
      int measure = measure(stem);
      result = measure > 1 || measure == 1 && !endsClosed(stem) ? stem : word;
    }
    boolean doubled = result.endsWith("ll") && measure(cut(result, 1)) > 1;
    return doubled ? cut(result, 1) : result;
  }

  /** Only the first suffix that fits is looked at, whether or not its stem is long enough. */
  private static String replaceFirst(String word, String[][] rules) {
    for (String[] rule : rules) {
      if (word.endsWith(rule[0])) {
        String stem = cut(word, rule[0].length());
        return measure(stem) > 0 ? stem + rule[1] : word;
      }
    }
    return word;
  }

  private static String cut(String word, int letters) {
    return word.substring(0, word.length() - letters);
  }

  private static boolean isConsonant(String word, int at) {
    char letter = word.charAt(at);
    if (letter == 'y') {
      return at == 0 || !isConsonant(word, at - 1);
    }
    return "aeiou".indexOf(letter) < 0;
  }

  /** How often a vowel is followed by a consonant: m of [C](VC){m}[V]. */
  private static int measure(String stem) {
    int count = 0;
    for (int i = 1; i < stem.length(); i++) {
      count += !isConsonant(stem, i - 1) && isConsonant(stem, i) ? 1 : 0;
    }
    return count;
  }

  private static boolean hasVowel(String stem) {
    for (int i = 0; i < stem.length(); i++) {
      if (!isConsonant(stem, i)) {
        return true;
      }
    }
    return false;
  }

  private static boolean endsInDouble(String word) {
    int last = word.length() - 1;
    return last >= 1 && word.charAt(last) == word.charAt(last - 1) && isConsonant(word, last);
  }

  /** Consonant, vowel, consonant other than w, x, y; or a word of vowel and consonant. */
  private static boolean endsClosed(String word) {
    int n = word.length();
    if (n == 2) {
      return !isConsonant(word, 0) && isConsonant(word, 1);
    }
    return n >= 3
        && isConsonant(word, n - 3)
        && !isConsonant(word, n - 2)
        && isConsonant(word, n - 1)
        && "wxy".indexOf(word.charAt(n - 1)) < 0;
  }
}
