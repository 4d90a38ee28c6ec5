package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.Map;

/**
 * A task file of Super-NaturalInstructions: one object whose {@code Definition} says the task and
 * whose {@code Instances} are the examples (allenai/natural-instructions). Of several acceptable
 * outputs the first is the target. The field {@code examples} has the first two positive examples
 * in the words of Wang et al. 2022 (arXiv 2204.07705).
 */
final class SuperNaturalInstructions extends ExampleReader {
  /** Positive examples that are kept. */
  private static final int SHOWN = 2;

  private final Records records;
  private String definition = "";
  private String examples = "";
  private JsonNode instances;
  private int next;

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
    String input = Records.scalar(instance.get("input"));
    JsonNode output = instance.path("output");
    String target = Records.scalar(output.isArray() ? output.get(0) : output);
    if (input == null || target == null) {
      throw error("expected {\"input\": text, \"output\": text or a list of texts}");
    }
    Map<String, String> values =
        Map.of(
            "definition", definition, "input", input, "target", target, "examples", examples);
    return new Example.Fields(values, definition + "\n\n" + input, target);
  }

  @Override
  public long line() {
    return records.line();
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
    examples = examples(task.path("Positive Examples"));
    instances = task.get("Instances");
  }

  private static String examples(JsonNode positive) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < Math.min(SHOWN, positive.size()); i++) {
      text.append("Positive Example %d -\nInput: ".formatted(i + 1))
          .append(positive.get(i).path("input").asText().strip())
          .append("\nOutput: ")
          .append(positive.get(i).path("output").asText().strip())
          .append("\n\n");
    }
    return text.toString();
  }
}
