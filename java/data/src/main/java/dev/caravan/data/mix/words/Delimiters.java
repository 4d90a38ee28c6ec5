package dev.caravan.data.mix.words;

import dev.caravan.data.mixture.Choices;
import dev.caravan.data.template.Exchange;
import java.util.List;

/**
 * What stands around the questions and answers of a prompt with exemplars.
 *
 * @param input before a question
 * @param between question and answer
 * @param target before an answer
 * @param separator behind an exemplar
 */
public record Delimiters(String input, String between, String target, String separator) {
  /**
   * Those of FLAN 2022 (Longpre et al., arXiv 2301.13688; google-research/FLAN, flan/v2), which are
   * drawn for each example.
   */
  private static final List<List<String>> PREFIXES =
      List.of(
          List.of("", ""),
          List.of("Q: ", "A: "),
          List.of("Question: ", "Answer: "),
          List.of("Question:\n", "Answer:\n"),
          List.of("Problem: ", "Answer: "),
          List.of("Input: ", "Output: "));

  private static final List<String> BETWEEN =
      List.of("\n", "\n\n", "\n****\n", "\n-----\n", "\n=======\n");
  private static final List<String> SEPARATORS = List.of("\n\n", "\n\n\n");

  private static final int PREFIX = 11;
  private static final int MIDDLE = 12;
  private static final int SEPARATOR = 13;

  /** Those of FLAN 2022, one combination of them for a key. */
  static Delimiters flan(long key) {
    List<String> prefixes = PREFIXES.get(Choices.below(PREFIXES.size(), key, PREFIX));
    return new Delimiters(
        prefixes.get(0),
        BETWEEN.get(Choices.below(BETWEEN.size(), key, MIDDLE)),
        prefixes.get(1),
        separator(key));
  }

  /** What separates exemplars that keep their template's own words. */
  public static String separator(long key) {
    return SEPARATORS.get(Choices.below(SEPARATORS.size(), key, SEPARATOR));
  }

  /**
   * The words of a template between these. Spaces before an answer belong to it, as in running
   * text, since tokenizers join them with the word behind.
   */
  public Exchange around(Exchange words) {
    String before = input + words.prompt().strip() + between + target;
    String given = before.stripTrailing();
    String cut = before.substring(given.length());
    int lineEnd = cut.lastIndexOf('\n') + 1;
    return new Exchange(
        given + cut.substring(0, lineEnd), cut.substring(lineEnd) + words.target().strip());
  }
}
