package dev.caravan.study;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunConfigWriter;
import dev.caravan.train.RunFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The results of a study on disk: one file a cell, and a table of all. */
final class Cells {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String KEY = "key";

  private final Path output;
  private final Map<Path, String> hashes = new HashMap<>();
  private final Map<String, ObjectNode> done = new LinkedHashMap<>();

  Cells(Path output) {
    this.output = output;
  }

  /** Run-file keys laid over others; maps are merged, all else is replaced. */
  static ObjectNode merge(ObjectNode under, ObjectNode over) {
    ObjectNode merged = under.deepCopy();
    for (Map.Entry<String, JsonNode> entry : over.properties()) {
      JsonNode below = merged.get(entry.getKey());
      boolean both = below instanceof ObjectNode && entry.getValue() instanceof ObjectNode;
      merged.set(
          entry.getKey(),
          both ? merge((ObjectNode) below, (ObjectNode) entry.getValue()) : entry.getValue());
    }
    return merged;
  }

  /**
   * The run that keys describe.
   *
   * @param name of a cell or a base, which errors begin with
   */
  static RunConfig config(ObjectNode keys, String name) {
    String where = "study " + name;
    try {
      return RunFile.parse(StudyFile.YAML.writeValueAsString(keys), where, name, List.of());
    } catch (UserError e) {
      throw new UserError(where + ": " + e.getMessage(), e);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Of everything that a cell's result depends on: its run, and what its files hold. */
  String key(RunConfig config, Collection<Path> files) {
    MessageDigest digest = digest();
    digest.update(RunConfigWriter.toYaml(config).getBytes(StandardCharsets.UTF_8));
    for (Path file : files) {
      digest.update(hashes.computeIfAbsent(file, Cells::hash).getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static String hash(Path file) {
    MessageDigest digest = digest();
    byte[] buffer = new byte[1 << 16];
    try (InputStream in = Files.newInputStream(file)) {
      for (int got = in.read(buffer); got >= 0; got = in.read(buffer)) {
        digest.update(buffer, 0, got);
      }
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  Path folder(String cell) {
    return output.resolve("cells").resolve(cell);
  }

  /**
   * The result of a cell that is done.
   *
   * @throws UserError if it was made by another study
   */
  Optional<ObjectNode> result(String cell, String key) {
    Path file = folder(cell).resolve("result.json");
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      ObjectNode result = (ObjectNode) JSON.readTree(file.toFile());
      if (!result.path(KEY).asText().equals(key)) {
        throw new UserError(
            file
                + ": made with other settings or data; choose another output, or remove "
                + folder(cell)
                + " to run the cell anew");
      }
      result.remove(KEY);
      done.put(cell, result);
      return Optional.of(result);
    } catch (IOException | ClassCastException e) {
      throw new UserError(file + ": not the result of a cell: remove it to run the cell anew", e);
    }
  }

  /** Keeps the result of a cell, whole or not at all. */
  void put(String cell, String key, ObjectNode result) {
    done.put(cell, result);
    ObjectNode kept = result.deepCopy().put(KEY, key);
    write(folder(cell).resolve("result.json"), kept.toPrettyString() + "\n");
  }

  /** Writes a file, whole or not at all, and its folder where it is not there. */
  static void write(Path file, String text) {
    try {
      Files.createDirectories(file.getParent());
    } catch (IOException e) {
      throw DurableFiles.cannotWrite(file.getParent(), e);
    }
    DurableFiles.replace(file, text.getBytes(StandardCharsets.UTF_8));
  }

  /** All results so far, in order. */
  Collection<ObjectNode> results() {
    return done.values();
  }

  /** Writes results.csv: a line of names, then one line a cell. */
  void table() {
    StringBuilder csv = new StringBuilder();
    for (ObjectNode result : done.values()) {
      if (csv.length() == 0) {
        line(csv, result.properties().stream().map(Map.Entry::getKey).toList());
      }
      line(csv, result.properties().stream().map(e -> e.getValue().asText()).toList());
    }
    write(output.resolve("results.csv"), csv.toString());
  }

  private static void line(StringBuilder csv, List<String> values) {
    csv.append(String.join(",", values.stream().map(Cells::quoted).toList())).append('\n');
  }

  private static String quoted(String value) {
    return value.matches("[^,\"\\n]*") ? value : '"' + value.replace("\"", "\"\"") + '"';
  }

  /** The last line of a run's metrics that has a number of this name. */
  static double last(Path metrics, String name) {
    double last = Double.NaN;
    try {
      for (String line : Files.readAllLines(metrics)) {
        JsonNode value = JSON.readTree(line).path(name);
        last = value.isNumber() ? value.asDouble() : last;
      }
    } catch (IOException e) {
      throw new UserError(metrics + ": cannot be read: " + e.getMessage(), e);
    }
    return last;
  }
}
