package dev.caravan.data.mix.words;

import dev.caravan.data.mixture.Choices;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Phrases that stand for a field of templates, one of which is chosen for each example. */
public final class Phrases {
  /**
   * {@code {trigger}}: what asks for reasoning before the answer. The first is that of Kojima et
   * al. 2022 (arXiv 2205.11916).
   */
  public static final Map<String, List<String>> BUNDLED =
      Map.of(
          "trigger",
          List.of(
              "Let's think step by step.",
              "Give your reasoning first, then the answer.",
              "Work through it one step at a time.",
              "Explain how you get to the answer.",
              "Reason before you answer.",
              "Take it slowly: what follows from what?",
              "Write down each step, and finish with the answer.",
              "Show your working.",
              "Think aloud, then answer.",
              "Which steps lead to the answer?"));

  private Phrases() {}

  /** A phrase for each name; names are chosen for independently. */
  static Map<String, String> choose(Map<String, List<String>> phrases, long key) {
    Map<String, String> chosen = new TreeMap<>();
    phrases.forEach(
        (name, texts) ->
            chosen.put(name, texts.get(Choices.below(texts.size(), key, name.hashCode()))));
    return chosen;
  }
}
