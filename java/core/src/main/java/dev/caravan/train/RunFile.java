package dev.caravan.train;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a run file: YAML, then the {@code --set} assignments over it, then {@link
 * RunConfigReader}'s checks and defaults.
 */
public final class RunFile {
  static final ObjectMapper YAML =
      YAMLMapper.builder(
              YAMLFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
          .build();

  /**
   * Keys of which one displaces the others: an assignment of one removes the recipe's others, so
   * that {@code --set train.epochs=1} works on a recipe that counts steps.
   */
  private static final List<List<String>> ALTERNATIVES =
      List.of(
          List.of("model.path", "model.config", "model.family"),
          List.of("data.path", "data.mixture"),
          List.of("train.steps", "train.epochs"),
          List.of("train.tokens_per_step", "train.examples_per_step"));

  /** Keys that mean something only beside another one, and leave with it. */
  private static final Map<String, List<String>> GO_WITH =
      Map.of(
          "model.family", List.of("model.size", "model.seed"),
          "model.config", List.of("model.seed"));

  private static final List<String> SCORE_SECTIONS =
      List.of("tokenizer", "data", "sequence", "precision");

  private RunFile() {}

  /**
   * Reads a file.
   *
   * @param file a YAML file
   * @param assignments {@code a.b=VALUE} each, VALUE being YAML
   * @throws UserError for anything that is wrong with it, in one line
   */
  public static RunConfig read(Path file, List<String> assignments) {
    String yaml;
    try {
      yaml = Files.readString(file);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read; is it a text file?", e);
    }
    String name = file.getFileName().toString().replaceFirst("\\.ya?ml$", "");
    return parse(yaml, file.toString(), name, assignments);
  }

  /**
   * Reads YAML text, for example of a bundled recipe.
   *
   * @param yaml the text
   * @param where what syntax errors name
   * @param name the recipe's name, which names the default run folder
   * @param assignments as in {@link #read}
   * @throws UserError for anything that is wrong with it, in one line
   */
  public static RunConfig parse(String yaml, String where, String name, List<String> assignments) {
    JsonNode tree;
    try {
      tree = YAML.readTree(yaml);
    } catch (JsonProcessingException e) {
      JsonLocation at = e.getLocation();
      String place = at == null ? "" : ":" + at.getLineNr();
      throw new UserError(where + place + ": not YAML: " + firstLine(e));
    }
    if (tree == null || tree.isMissingNode() || tree.isNull()) {
      tree = JsonNodeFactory.instance.objectNode();
    }
    if (!(tree instanceof ObjectNode map)) {
      throw new UserError(where + ": got no map, a run file is 'key: value' lines");
    }
    assign(map, assignments);
    return RunConfigReader.read(map, name);
  }

  /**
   * The configuration of scoring: fp32 unless set otherwise; only keys of {@link #SCORE_SECTIONS}
   * may be set.
   *
   * @param model a model folder
   * @param data the file to score
   * @param assignments as in {@link #read}
   * @throws UserError for anything that is wrong with it, in one line
   */
  public static RunConfig forScore(Path model, Path data, List<String> assignments) {
    for (String assignment : assignments) {
      String section = assignment.split("[.=]", 2)[0].trim();
      if (!SCORE_SECTIONS.contains(section)) {
        throw new UserError(
            "--set "
                + assignment
                + ": score takes only keys of "
                + String.join(", ", SCORE_SECTIONS));
      }
    }
    ObjectNode tree = JsonNodeFactory.instance.objectNode();
    tree.putObject("model").put("path", model.toString());
    tree.putObject("data").put("path", data.toString());
    tree.put("precision", "fp32");
    assign(tree, assignments);
    return RunConfigReader.read(tree, "score");
  }

  /** Applies {@code a.b=VALUE} assignments in order. */
  static void assign(ObjectNode tree, List<String> assignments) {
    Map<String, String> chosen = new HashMap<>();
    for (String assignment : assignments) {
      int equals = assignment.indexOf('=');
      if (equals <= 0) {
        throw new UserError(
            "--set " + assignment + ": needs KEY=VALUE, for example train.steps=10");
      }
      String key = assignment.substring(0, equals).trim();
      JsonNode value;
      try {
        value = YAML.readTree(assignment.substring(equals + 1));
      } catch (JsonProcessingException e) {
        throw new UserError("--set " + assignment + ": the value is not YAML: " + firstLine(e));
      }
      if (value == null || value.isMissingNode()) {
        value = JsonNodeFactory.instance.nullNode();
      }
      displace(tree, key, value, chosen);
      put(tree, key, value);
    }
  }

  private static void displace(
      ObjectNode tree, String key, JsonNode value, Map<String, String> chosen) {
    if (value.isNull()) {
      return;
    }
    for (List<String> group : ALTERNATIVES) {
      for (String member : group) {
        if (!key.equals(member) && !key.startsWith(member + ".")) {
          continue;
        }
        String before = chosen.put(group.get(0), member);
        if (before != null && !before.equals(member)) {
          continue; // Two assignments contradict each other: the reader's check says so.
        }
        for (String other : group) {
          if (!other.equals(member)) {
            remove(tree, other);
            GO_WITH.getOrDefault(other, List.of()).forEach(companion -> remove(tree, companion));
          }
        }
      }
    }
  }

  private static void remove(ObjectNode tree, String key) {
    int dot = key.indexOf('.');
    if (tree.get(key.substring(0, dot)) instanceof ObjectNode section) {
      section.remove(key.substring(dot + 1));
    }
  }

  private static void put(ObjectNode tree, String key, JsonNode value) {
    ObjectNode map = tree;
    List<String> parts = new ArrayList<>(List.of(key.split("\\.", -1)));
    String last = parts.remove(parts.size() - 1);
    for (String part : parts) {
      JsonNode next = map.get(part);
      if (next == null || next.isNull()) {
        map = map.putObject(part);
      } else if (next instanceof ObjectNode object) {
        map = object;
      } else {
        throw new UserError("--set " + key + ": '" + part + "' holds " + next + ", not a map");
      }
    }
    map.set(last, value);
  }

  private static String firstLine(JsonProcessingException e) {
    String message = e.getOriginalMessage();
    return message == null ? "syntax error" : message.lines().findFirst().orElse("syntax error");
  }
}
