package dev.caravan.cli.quickstart;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * The text that the base model is trained on: every fact in every one of its sentences, several
 * times, in documents of a few sentences that have nothing to do with each other, so that nothing
 * but memory helps. There is no instruction, no question and no answer in it.
 */
final class Corpus {
  /** How often every sentence of every fact occurs. */
  static final int ROUNDS = 10;

  /** What may stand behind a subject; the empty ones leave half of the sentences as they are. */
  private static final List<String> ASIDES =
      List.of(
          ", of course,",
          ", as is known,",
          ", to be exact,",
          ", so one reads,",
          ", as lists show,",
          "",
          "",
          "",
          "",
          "");

  private static final int SENTENCES = 6;
  private static final long SEED = 1;

  private Corpus() {}

  /** The documents. */
  static List<String> documents(List<Family> families) {
    Random random = new Random(SEED);
    List<String> documents = new ArrayList<>();
    int shapes = families.stream().mapToInt(family -> family.statements().size()).max().orElse(0);
    for (int pass = 0; pass < ROUNDS * shapes; pass++) {
      List<String> sentences = new ArrayList<>();
      for (Family family : families) {
        for (int i = 0; i < family.facts().size(); i++) {
          int shape = (pass + i) % family.statements().size();
          String aside = ASIDES.get(random.nextInt(ASIDES.size()));
          String statement = family.statements().get(shape).replace("{x}", "{x}" + aside);
          sentences.add(family.facts().get(i).in(statement.replace(",:", ":")));
        }
      }
      Collections.shuffle(sentences, random);
      for (int from = 0; from < sentences.size(); from += SENTENCES) {
        int to = Math.min(sentences.size(), from + SENTENCES);
        documents.add(String.join(" ", sentences.subList(from, to)));
      }
    }
    return documents;
  }
}
