package dev.caravan.eval.suite;

import java.util.List;

/**
 * Questions that are put and scored in one way.
 *
 * @param name first part of its metrics' names, for example mmlu_test
 * @param split which part of the benchmark: test, validation, dev
 * @param shots exemplars before each question
 * @param mean how questions make one value
 * @param excluded groups that have a value of their own but do not count in the mean
 * @param scoring how answers are scored
 * @param questions at least one
 * @param notes what a reader of the result has to know, for example that exemplars were missing
 */
public record Paper(
    String name,
    String split,
    int shots,
    Mean mean,
    List<String> excluded,
    Scoring scoring,
    List<Question> questions,
    List<String> notes) {

  /** How questions make one value. */
  public enum Mean {
    /** Every question counts alike. */
    OF_QUESTIONS("mean over questions"),
    /** Every group counts alike, whatever its size. */
    OF_GROUPS("unweighted mean over groups");

    private final String words;

    Mean(String words) {
      this.words = words;
    }

    /** What it is. */
    public String words() {
      return words;
    }
  }

  public Paper {
    excluded = List.copyOf(excluded);
    questions = List.copyOf(questions);
    notes = List.copyOf(notes);
  }

  /** A paper whose questions all count alike. */
  public static Paper of(
      String name, String split, int shots, Scoring scoring, List<Question> questions) {
    return new Paper(
        name, split, shots, Mean.OF_QUESTIONS, List.of(), scoring, questions, List.of());
  }
}
