package dev.caravan.data.source;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One example as its source has it, before a template puts it into words. */
public sealed interface Example {
  /**
   * Named fields with a prompt and a target.
   *
   * @param values every field that is text, a number or a truth value, by the format's own names
   *     where it has some
   * @param prompt what is given, without a template's words
   * @param target what is to be learnt, without a template's words
   * @param alternatives other targets that are as right
   */
  record Fields(
      Map<String, String> values, String prompt, String target, List<String> alternatives)
      implements Example {
    public Fields {
      values = Map.copyOf(values);
      alternatives = List.copyOf(alternatives);
    }

    /** An example with one right target. */
    public Fields(Map<String, String> values, String prompt, String target) {
      this(values, prompt, target, List.of());
    }

    /** The same example, of which another is the target, under its own names too. */
    public Fields answered(String other) {
      Map<String, String> said = new HashMap<>(values);
      for (String same : List.of("target", "output")) {
        said.computeIfPresent(same, (name, text) -> text.equals(target) ? other : text);
      }
      return new Fields(said, prompt, other, alternatives);
    }
  }

  /**
   * A conversation.
   *
   * @param messages at least one
   */
  record Chat(List<Message> messages) implements Example {
    public Chat {
      messages = List.copyOf(messages);
    }
  }

  /**
   * Raw text: a document, or a piece of one.
   *
   * @param text all of it is to be learnt
   * @param begins whether the document begins with it
   * @param ends whether the document ends with it
   */
  record Text(String text, boolean begins, boolean ends) implements Example {
    /** A whole document. */
    public Text(String text) {
      this(text, true, true);
    }
  }
}
