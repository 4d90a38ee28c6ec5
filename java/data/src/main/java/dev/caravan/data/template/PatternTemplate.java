package dev.caravan.data.template;

import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * A prompt and a target, each a text with fields in braces; behind the target comes the end token.
 * Any field of the example can be named; {@code prompt} and {@code target} are there for every
 * format.
 */
final class PatternTemplate implements Template {
  /** The field in whose place exemplars stand. */
  private static final String SHOTS = "shots";

  private final String name;
  private final Pattern prompt;
  private final Optional<Pattern> promptWithoutInput;
  private final Pattern target;
  private final Optional<Pattern> exemplar;

  /**
   * @param promptWithoutInput the prompt of examples whose field {@code input} is blank
   * @param exemplar the prompt of exemplars, if it is another one
   */
  PatternTemplate(
      String name,
      Pattern prompt,
      Optional<Pattern> promptWithoutInput,
      Pattern target,
      Optional<Pattern> exemplar) {
    this.name = name;
    this.prompt = prompt;
    this.promptWithoutInput = promptWithoutInput;
    this.target = target;
    this.exemplar = exemplar;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String words() {
    return prompt
        + " | "
        + promptWithoutInput
        + " | "
        + target
        + exemplar.map(shown -> " | " + shown).orElse("");
  }

  @Override
  public Set<String> fields() {
    Set<String> all = new TreeSet<>(prompt.fields());
    promptWithoutInput.ifPresent(pattern -> all.addAll(pattern.fields()));
    all.addAll(target.fields());
    exemplar.ifPresent(pattern -> all.addAll(pattern.fields()));
    return all;
  }

  @Override
  public List<String> literals() {
    return Stream.of(Optional.of(prompt), promptWithoutInput, Optional.of(target), exemplar)
        .flatMap(pattern -> pattern.stream().flatMap(given -> given.literals().stream()))
        .toList();
  }

  @Override
  public List<Segment> render(Example example) {
    return segments(exchange(example, "").orElseThrow());
  }

  @Override
  public Optional<Exchange> exchange(Example example, String shots) {
    Example.Fields fields = fields(example);
    Pattern pattern = prompt(fields);
    String asked = pattern.fill(field -> field.equals(SHOTS) ? shots : value(fields, field));
    boolean placed = pattern.fields().contains(SHOTS);
    return Optional.of(new Exchange(placed ? asked : shots + asked, learnt(fields)));
  }

  @Override
  public Optional<Exchange> exemplar(Example example) {
    Example.Fields fields = fields(example);
    String asked =
        exemplar
            .orElseGet(() -> prompt(fields))
            .fill(field -> field.equals(SHOTS) ? "" : value(fields, field));
    return Optional.of(new Exchange(asked, learnt(fields)));
  }

  @Override
  public Optional<String> missing(Example example) {
    Example.Fields fields = fields(example);
    return Stream.of(Optional.of(prompt(fields)), Optional.of(target), exemplar)
        .flatMap(pattern -> pattern.stream().flatMap(given -> given.fields().stream()))
        .filter(field -> !field.equals(SHOTS) && lookUp(fields, field).isEmpty())
        .findFirst();
  }

  private Pattern prompt(Example.Fields fields) {
    boolean noInput = lookUp(fields, "input").map(String::isBlank).orElse(true);
    return noInput ? promptWithoutInput.orElse(prompt) : prompt;
  }

  /** Blank targets teach nothing: without words around them they are seen to be blank. */
  private String learnt(Example.Fields fields) {
    List<String> named = target.fields();
    boolean blank =
        !named.isEmpty() && named.stream().allMatch(field -> value(fields, field).isBlank());
    return blank ? "" : target.fill(field -> value(fields, field));
  }

  private Example.Fields fields(Example example) {
    if (example instanceof Example.Fields fields) {
      return fields;
    }
    if (example instanceof Example.Chat chat) {
      List<Message> turns = chat.messages();
      boolean hasSystem = turns.get(0).role() == Role.SYSTEM;
      int first = hasSystem ? 1 : 0;
      boolean oneTurn =
          turns.size() == first + 2
              && turns.get(first).role() == Role.USER
              && turns.get(first + 1).role() == Role.ASSISTANT;
      if (oneTurn) {
        String asked = turns.get(first).content();
        String whole = hasSystem ? turns.get(0).content() + "\n\n" + asked : asked;
        return new Example.Fields(Map.of(), whole, turns.get(first + 1).content());
      }
      throw new TemplateMismatch(
          "template '"
              + name
              + "' has no words for a conversation of "
              + turns.size()
              + " messages; choose a chat template");
    }
    throw new TemplateMismatch("template '" + name + "' has no words for raw text");
  }

  private String value(Example.Fields fields, String field) {
    return lookUp(fields, field)
        .orElseThrow(
            () -> {
              TreeSet<String> known = new TreeSet<>(fields.values().keySet());
              known.add("prompt");
              known.add("target");
              return new TemplateMismatch(
                  "template '"
                      + name
                      + "' needs a field '"
                      + field
                      + "', the example has "
                      + String.join(", ", known));
            });
  }

  /**
   * The value of a field: the example's own, else what its prompt or target is in other formats'
   * words.
   */
  private static Optional<String> lookUp(Example.Fields fields, String field) {
    String own = fields.values().get(field);
    if (own != null) {
      return Optional.of(own);
    }
    return switch (field) {
      case "prompt", "instruction" -> Optional.of(fields.prompt());
      case "target", "output" -> Optional.of(fields.target());
      default -> Optional.empty();
    };
  }
}
