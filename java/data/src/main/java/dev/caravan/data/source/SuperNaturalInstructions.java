package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.Map;

/**
 * A task file of Super-NaturalInstructions: one object whose {@code Definition} says the task and
 * whose {@code Instances} are the examples (allenai/natural-instructions). Of several acceptable
 * outputs the first is the target.
 */
final class SuperNaturalInstructions extends ExampleReader {
  private final Records records;
  private String definition = "";
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
    Map<String, String> values = Map.of("definition", definition, "input", input, "target", target);
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
    instances = task.get("Instances");
  }
}
