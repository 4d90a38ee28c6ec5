package dev.caravan.data.template;

import dev.caravan.data.source.Example;
import java.util.ArrayList;
import java.util.List;

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
