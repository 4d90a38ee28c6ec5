package dev.caravan.eval.suite;

import java.util.List;

/**
 * What a model is given, in parts, so that exemplars can be left out where the whole does not fit.
 *
 * @param preamble comes first, once; may be empty
 * @param exemplars questions with their answers, each with the separator behind it
 * @param query the question itself; the answer follows it
 */
public record Prompt(String preamble, List<String> exemplars, String query) {
  public Prompt {
    exemplars = List.copyOf(exemplars);
  }

  /** A question without exemplars. */
  public static Prompt of(String query) {
    return new Prompt("", List.of(), query);
  }

  /** The text with the first {@code shots} exemplars. */
  public String text(int shots) {
    return preamble + String.join("", exemplars.subList(0, shots)) + query;
  }

  /** The text with all exemplars. */
  public String text() {
    return text(exemplars.size());
  }
}
