package dev.caravan.data.mix.words;

import dev.caravan.data.source.Example;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.TemplateMismatch;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What a task's examples have besides the words of its templates.
 *
 * @param shots exemplars before some of them
 * @param options their answer options, listed
 * @param phrases names that templates use as fields, and the texts that each may become; a field of
 *     an example's own goes first
 */
public record Wording(
    Optional<Shots> shots, Optional<AnswerOptions> options, Map<String, List<String>> phrases) {
  /** Nothing. */
  public static final Wording NONE = new Wording(Optional.empty(), Optional.empty(), Map.of());

  public Wording {
    Map<String, List<String>> ordered = new TreeMap<>();
    phrases.forEach((name, texts) -> ordered.put(name, List.copyOf(texts)));
    phrases = Collections.unmodifiableMap(ordered);
  }

  /**
   * An example with the fields that options and phrases give it: a pure function of its arguments.
   *
   * @param template whose words it will have
   * @param key of the choices
   * @throws TemplateMismatch if the example does not have what the options need
   */
  public Example apply(Example example, Template template, long key) {
    if (options.isEmpty() && phrases.isEmpty()) {
      return example;
    }
    if (!(example instanceof Example.Fields fields)) {
      throw new TemplateMismatch("options and phrases need examples with fields");
    }
    if (options.isPresent()) {
      boolean isNamed = template.fields().contains(AnswerOptions.FIELD);
      fields = options.get().apply(fields, key, isNamed);
    }
    if (phrases.isEmpty()) {
      return fields;
    }
    Map<String, String> values = new LinkedHashMap<>(Phrases.choose(phrases, key));
    values.putAll(fields.values());
    return new Example.Fields(values, fields.prompt(), fields.target());
  }
}
