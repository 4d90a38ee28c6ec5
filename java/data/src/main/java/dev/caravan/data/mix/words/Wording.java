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
    Example.Fields fields = fields(example);
    return options
        .map(among -> phrased(among.apply(fields, key, shows(template)), key))
        .orElseGet(() -> phrased(fields, key));
  }

  /**
   * As {@link #apply}, once for each of the example's options, as though it were the right one.
   *
   * @throws TemplateMismatch as {@link #apply} does
   */
  public List<Example> applyEach(Example example, Template template, long key) {
    return options.orElseThrow().applyEach(fields(example), key, shows(template)).stream()
        .map(said -> phrased(said, key))
        .toList();
  }

  private static boolean shows(Template template) {
    return template.fields().contains(AnswerOptions.FIELD);
  }

  private static Example.Fields fields(Example example) {
    if (example instanceof Example.Fields fields) {
      return fields;
    }
    throw new TemplateMismatch("options and phrases need examples with fields");
  }

  private Example phrased(Example.Fields fields, long key) {
    if (phrases.isEmpty()) {
      return fields;
    }
    Map<String, String> values = new LinkedHashMap<>(Phrases.choose(phrases, key));
    values.putAll(fields.values());
    return new Example.Fields(values, fields.prompt(), fields.target(), fields.alternatives());
  }
}
