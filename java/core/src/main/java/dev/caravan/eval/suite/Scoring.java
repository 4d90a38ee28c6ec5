package dev.caravan.eval.suite;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/** How the questions of a paper are scored. */
public sealed interface Scoring {
  /**
   * The likeliest option is the answer.
   *
   * @param metric what the share of right answers is called
   * @param measures what likeliest may mean; each is a result of its own, the first is the
   *     benchmark's usual one
   */
  record Ranking(String metric, List<Likelihood> measures) implements Scoring {
    public Ranking {
      measures = List.copyOf(measures);
    }

    /** The usual name. */
    public static Ranking accuracy(List<Likelihood> measures) {
      return new Ranking("accuracy", measures);
    }
  }

  /** Measures of an option's likelihood. */
  enum Likelihood {
    SUM("", "likelihood of the option: sum of its tokens' log-probabilities"),
    PER_TOKEN("_per_token", "likelihood of the option divided by its number of tokens"),
    PER_CHARACTER(
        "_per_character",
        "likelihood of the option divided by its characters, leading space not counted"),
    PER_BYTE(
        "_per_byte",
        "likelihood of the option divided by its UTF-8 bytes, leading space not counted"),
    OVER_ANSWER(
        "_over_answer", "likelihood of the option minus that of the option behind 'Answer:' alone");

    private final String suffix;
    private final String words;

    Likelihood(String suffix, String words) {
      this.suffix = suffix;
      this.words = words;
    }

    /**
     * The number of the likeliest option, of equals the first.
     *
     * @param sums of the log-probabilities of each option's tokens
     * @param alone the same behind 'Answer:' alone; looked at by OVER_ANSWER only
     * @param ids token ids of each option
     * @param texts the options in words
     */
    public int best(double[] sums, double[] alone, int[][] ids, List<String> texts) {
      int best = 0;
      double highest = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < sums.length; i++) {
        String text = texts.get(i).stripLeading();
        double value =
            switch (this) {
              case SUM -> sums[i];
              case PER_TOKEN -> sums[i] / Math.max(1, ids[i].length);
              case PER_CHARACTER -> sums[i] / Math.max(1, text.codePointCount(0, text.length()));
              case PER_BYTE -> sums[i] / Math.max(1, text.getBytes(StandardCharsets.UTF_8).length);
              case OVER_ANSWER -> sums[i] - alone[i];
            };
        if (value > highest) {
          highest = value;
          best = i;
        }
      }
      return best;
    }

    /** What it adds to a metric's name. */
    public String suffix() {
      return suffix;
    }

    /** What it is. */
    public String words() {
      return words;
    }
  }

  /**
   * The model writes until a stop text or the end token.
   *
   * @param stops texts that end the answer and are not part of it
   * @param maxNewTokens how long an answer may be
   * @param metrics each is a result of its own, the first is the benchmark's usual one
   */
  record Writing(List<String> stops, int maxNewTokens, List<Metric> metrics) implements Scoring {
    public Writing {
      stops = List.copyOf(stops);
      metrics = List.copyOf(metrics);
    }
  }

  /** Finds the answer in what was written; empty where there is none. */
  interface Extraction {
    /** The answer. */
    Optional<String> of(String written);
  }

  /** Compares an answer with the references: 0 to 1. */
  interface Comparison {
    /** The score. */
    double of(List<String> references, String answer);
  }

  /**
   * A score of written answers.
   *
   * @param name last part of the metric's name, for example exact_match
   * @param words what it is
   * @param extraction finds the answer; what has none scores 0
   * @param comparison scores it
   */
  record Metric(String name, String words, Extraction extraction, Comparison comparison) {
    /** A metric of all that was written, without the space around it. */
    public static Metric ofAll(String name, String words, Comparison comparison) {
      return new Metric(name, words, written -> Optional.of(written.strip()), comparison);
    }
  }
}
