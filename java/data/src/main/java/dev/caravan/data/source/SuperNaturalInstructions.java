package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A task file of Super-NaturalInstructions: one object whose {@code Definition} says the task and
 * whose {@code Instances} are the examples (allenai/natural-instructions). Of several acceptable
 * outputs the first is the target, and the others are alternatives. The field {@code examples} has
 * the first two positive examples in the words of Wang et al. 2022 (arXiv 2204.07705), {@code
 * negatives} the first two negative ones; {@code examples_explained} and {@code
 * negatives_explained} have the explanations too. A task that has fewer shows fewer.
 */
final class SuperNaturalInstructions extends ExampleReader {
  /** Examples that are shown of a kind. */
  private static final int SHOWN = 2;

  private final Records records;
  private String definition = "";
  private Map<String, String> shown = Map.of();
  private JsonNode instances;
  private int next;
  private long read;

  SuperNaturalInstructions(Path file) {
    records = Records.open(file);
  }

  @Override
  public Example next() {
    while (instances == null || next == instances.size()) {
      ObjectNode task = records.next();
      if (task == null) {
        return null;
      }
      open(task);
    }
    JsonNode instance = instances.get(next++);
    read++;
    String input = Records.scalar(instance.get("input"));
    JsonNode output = instance.path("output");
    String target = Records.scalar(output.isArray() ? output.get(0) : output);
    if (input == null || target == null) {
      throw error("expected {\"input\": text, \"output\": text or a list of texts}");
    }
    Map<String, String> values = new HashMap<>(shown);
    values.put("input", input);
    values.put("target", target);
    List<String> alternatives = new ArrayList<>();
    for (int i = 1; i < output.size(); i++) {
      Optional.ofNullable(Records.scalar(output.get(i))).ifPresent(alternatives::add);
    }
    return new Example.Fields(values, definition + "\n\n" + input, target, alternatives);
  }

  /** The number of the instance in its file: all may stand in one line. */
  @Override
  public long line() {
    return read;
  }

  @Override
  public UserError error(String what) {
    return records.error(next == 0 ? what : "instance " + next + ": " + what);
  }

  @Override
  public void close() {
    records.close();
  }

  private void open(ObjectNode task) {
    JsonNode definitions = task.path("Definition");
    String text = Records.scalar(definitions.isArray() ? definitions.get(0) : definitions);
    next = 0;
    if (text == null || !task.path("Instances").isArray()) {
      throw records.error(
          "no Definition and Instances; expected a task file of Super-NaturalInstructions");
    }
    definition = text;
    JsonNode positive = task.path("Positive Examples");
    JsonNode negative = task.path("Negative Examples");
    shown =
        Map.of(
            "definition",
            definition,
            "examples",
            show("Positive", positive, false),
            "negatives",
            show("Negative", negative, false),
            "examples_explained",
            show("Positive", positive, true),
            "negatives_explained",
            show("Negative", negative, true));
    instances = task.get("Instances");
  }

  private static String show(String kind, JsonNode examples, boolean explained) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < Math.min(SHOWN, examples.size()); i++) {
      JsonNode example = examples.get(i);
      text.append("%s Example %d -\nInput: ".formatted(kind, i + 1))
          .append(example.path("input").asText().strip())
          .append("\nOutput: ")
          .append(example.path("output").asText().strip());
      String explanation = example.path("explanation").asText().strip();
      if (explained && !explanation.isEmpty()) {
        text.append("\nExplanation: ").append(explanation);
      }
      text.append("\n\n");
    }
    return text.toString();
  }
}
