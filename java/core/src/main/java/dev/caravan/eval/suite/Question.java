package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import java.util.List;

/** One item of a benchmark. */
public sealed interface Question {
  /** Where it comes from: FILE:LINE or FILE and number. */
  String where();

  /** The part of the benchmark it belongs to: a subject, a task, a language; may be empty. */
  String group();

  /** What the model is given. */
  Prompt prompt();

  /**
   * One of several options is right; that which the model finds likeliest is its answer.
   *
   * @param options at least two
   * @param answer the right one, from 0
   * @throws UserError naming where, if there are fewer options or none is right
   */
  record Choice(String where, String group, Prompt prompt, List<Option> options, int answer)
      implements Question {
    public Choice {
      options = List.copyOf(options);
      if (options.size() < 2 || answer < 0 || answer >= options.size()) {
        throw new UserError(
            "%s: the answer is option %d of %d; needs one of at least 2"
                .formatted(where, answer + 1, options.size()));
      }
    }
  }

  /**
   * An option.
   *
   * @param lead what stands between prompt and text without being scored; usually empty
   * @param text what is scored
   */
  record Option(String lead, String text) {
    /** An option right behind the prompt. */
    public static Option of(String text) {
      return new Option("", text);
    }
  }

  /**
   * The model writes its answer.
   *
   * @param references acceptable answers, at least one
   * @param chance what guessing scores, 0 to 1
   */
  record Open(String where, String group, Prompt prompt, List<String> references, double chance)
      implements Question {
    /** A question whose answer cannot be guessed. */
    public Open(String where, String group, Prompt prompt, List<String> references) {
      this(where, group, prompt, references, 0);
    }

    public Open {
      references = List.copyOf(references);
      if (references.isEmpty()) {
        throw new UserError(where + ": no right answer; needs at least one");
      }
    }
  }
}
