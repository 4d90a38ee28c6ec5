package dev.caravan.data.source;

import dev.caravan.data.Nearest;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** What the records of a file mean: the value of {@code data.format}. */
public enum Format {
  /** Told by the file's ending and the names of the first record's fields. */
  AUTO(),
  /** An instruction, perhaps an input to it, and the output. */
  ALPACA("instruction", "input", "output"),
  /** A conversation: messages of roles, or ShareGPT's conversations. */
  MESSAGES("messages"),
  /** A prompt and its target. */
  PROMPT("prompt", "target"),
  /** Raw text, all of it to be learnt. */
  TEXT("text"),
  /** Rows that are tokenized already. */
  TOKENS("input_ids", "labels"),
  /** FLAN's chain-of-thought tsv: question, answer, rationale, without a header. */
  FLAN("question", "answer", "rationale"),
  /** Super-NaturalInstructions task files: a definition and its instances. */
  SUPERNI("definition", "input", "target"),
  /** Any named fields, which only a template's patterns give a meaning. */
  RECORD();

  private final List<String> fields;

  Format(String... fields) {
    this.fields = List.of(fields);
  }

  /**
   * The fields of a record of this format, by their own names; {@code data.fields} maps others to
   * these.
   */
  public List<String> fields() {
    return fields;
  }

  /** Whether {@code data.fields} can give this format's fields other names. */
  public boolean isMappable() {
    return this == ALPACA || this == MESSAGES || this == PROMPT || this == TEXT;
  }

  /** The name as it is written in a run file. */
  public String id() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * What is wrong with names that {@code fields} gives; empty if nothing is.
   *
   * @param names the format's name to the file's
   */
  public Optional<String> refusal(Map<String, String> names) {
    if (this == AUTO || names.isEmpty()) {
      return Optional.empty();
    }
    if (!isMappable()) {
      return Optional.of("the fields of format " + id() + " have fixed names; leave it out");
    }
    return names.keySet().stream()
        .filter(name -> !fields.contains(name))
        .findFirst()
        .map(
            name ->
                "format " + id() + " has no such field: " + Nearest.unknown("field", name, fields));
  }
}
