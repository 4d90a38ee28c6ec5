package dev.caravan.data.template;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Phrasings of questions that are answered with reasoning, and of the same without, for records
 * with the fields question, answer and rationale. With reasoning all end in the same words (Wei et
 * al. 2022, arXiv 2201.11903), by which evaluation finds the answer.
 */
final class Reasoning {
  private static final String REASONED = "{rationale} The answer is {answer}.";

  private Reasoning() {}

  /** Ten that reason first; {@code {trigger}} is what asks for it. */
  static List<Template> reasoned() {
    String[][] patterns = {
      {"Q: {question}\nA: {trigger}\n", REASONED},
      {"{question}\n{trigger}\n", REASONED},
      {"{trigger}\n\nQuestion: {question}\nAnswer:", " " + REASONED},
      {"Question: {question}\n{trigger}\nAnswer:", " " + REASONED},
      {"Answer the question below. {trigger}\n\n{question}\n\n", REASONED},
      {"Here is a question: {question}\n{trigger}\nReasoning and answer:", " " + REASONED},
      {"{question}\n\n{trigger}\nReasoning:", " {rationale}\nThe answer is {answer}."},
      {"Someone asks: {question}\n{trigger}\nReply:", " " + REASONED},
      {"Problem: {question}\n\n{trigger}\n\nSolution:", " " + REASONED},
      {"{trigger} {question}\n", REASONED},
    };
    return templates("flan-cot", patterns);
  }

  /** Ten that answer at once. */
  static List<Template> direct() {
    String[][] patterns = {
      {"Q: {question}\nA:", " {answer}"},
      {"{question}\n", "{answer}"},
      {"Question: {question}\nAnswer:", " {answer}"},
      {"Answer the question below.\n\n{question}\n\n", "{answer}"},
      {"{question}\nGive the answer alone:", " {answer}"},
      {"Here is a question: {question}\nThe answer:", " {answer}"},
      {"Someone asks: {question}\nReply:", " {answer}"},
      {"Problem: {question}\n\nSolution:", " {answer}"},
      {"What is the answer?\n{question}\n", "{answer}"},
      {"{question}\nThe answer is", " {answer}"},
    };
    return templates("flan-answer", patterns);
  }

  private static List<Template> templates(String name, String[][] patterns) {
    List<Template> all = new ArrayList<>();
    for (String[] pattern : patterns) {
      String own = name + "-" + (all.size() + 1);
      all.add(Templates.pattern(own, pattern[0], Optional.empty(), pattern[1]));
    }
    return all;
  }
}
