package dev.caravan.data.template;

import dev.caravan.data.source.Example;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Puts an example into words. */
public interface Template {
  /** The name by which {@code data.template} chooses it. */
  String name();

  /**
   * The segments of an example, in order.
   *
   * @throws TemplateMismatch if this template has no words for such an example
   */
  List<Segment> render(Example example);

  /** The special tokens that it needs by name; a tokenizer without them cannot be used with it. */
  default List<String> tokens() {
    return List.of();
  }

  /** A text that differs between templates that put examples into different words. */
  default String words() {
    return name();
  }

  /** The texts that it writes itself, without what examples put in. */
  default List<String> literals() {
    return List.of();
  }

  /**
   * The first field that this template needs and an example lacks; empty if it has all.
   *
   * @param example as {@link #render} takes it
   */
  default Optional<String> missing(Example example) {
    return Optional.empty();
  }

  /** The names of the fields in its patterns; empty for a template without patterns. */
  default Set<String> fields() {
    return Set.of();
  }

  /**
   * The words of an example behind exemplars; empty if this template cannot have exemplars.
   *
   * @param shots the words of the exemplars, which stand where the pattern says {@code {shots}}, or
   *     else before the prompt; blank for none
   */
  default Optional<Exchange> exchange(Example example, String shots) {
    return Optional.empty();
  }

  /** The words of an example that is an exemplar; empty if this template cannot have exemplars. */
  default Optional<Exchange> exemplar(Example example) {
    return Optional.empty();
  }

  /** The segments of words that {@link #exchange} made, perhaps with other delimiters. */
  default List<Segment> segments(Exchange words) {
    return List.of(
        new Segment.Bos(false),
        Segment.given(words.prompt()),
        Segment.learnt(words.target()),
        new Segment.Eos(true));
  }

  /** The segments of an example up to its first target: what a model is given to answer. */
  default List<Segment> prompt(Example example) {
    List<Segment> given = new ArrayList<>();
    for (Segment segment : render(example)) {
      if (segment.target()) {
        break;
      }
      given.add(segment);
    }
    return given;
  }
}
