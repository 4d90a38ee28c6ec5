package dev.caravan.data.mix;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiFunction;

/**
 * One map of a mixture file, read strictly: unknown keys, wrong types and values out of range are
 * errors that name the file, the key, what was got and what is needed.
 */
final class Keys {
  private final JsonNode map;
  private final String path;

  private Keys(JsonNode map, String path) {
    this.map = map;
    this.path = path;
  }

  /** The map {@code node}, which stands at {@code path} and may have the keys {@code known}. */
  static Keys of(JsonNode node, String path, String... known) {
    Keys keys = any(node, path, "a map with " + String.join(", ", known));
    for (Map.Entry<String, JsonNode> entry : keys.map.properties()) {
      if (!List.of(known).contains(entry.getKey())) {
        throw new UserError(
            path + ": " + Nearest.unknown("key", entry.getKey(), Arrays.asList(known)));
      }
    }
    return keys;
  }

  private static Keys any(JsonNode node, String path, String needs) {
    if (node == null || node.isNull() || node.isMissingNode()) {
      return new Keys(JsonNodeFactory.instance.objectNode(), path);
    }
    if (!node.isObject()) {
      throw new UserError(path + ": got " + show(node) + ", needs " + needs);
    }
    return new Keys(node, path);
  }

  boolean has(String key) {
    return map.hasNonNull(key);
  }

  JsonNode raw(String key) {
    return map.get(key);
  }

  String path(String key) {
    return path + "." + key;
  }

  Optional<String> text(String key) {
    return has(key) ? Optional.of(text(map.get(key), key)) : Optional.empty();
  }

  /** Text of any content, blank too. */
  String words(String key, String otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    if (!map.get(key).isTextual()) {
      throw wrong(key, "a text");
    }
    return map.get(key).asText();
  }

  private String text(JsonNode node, String key) {
    if (!node.isValueNode() || node.asText().isBlank()) {
      throw wrong(key, "a text");
    }
    return node.asText();
  }

  /** One text or a list of them; empty where absent. */
  List<String> texts(String key) {
    if (!has(key)) {
      return List.of();
    }
    JsonNode node = map.get(key);
    if (!node.isArray()) {
      return List.of(text(node, key));
    }
    List<String> all = new ArrayList<>();
    node.forEach(entry -> all.add(text(entry, key)));
    if (all.isEmpty()) {
      throw wrong(key, "at least one entry");
    }
    return all;
  }

  boolean bool(String key, boolean otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    if (!map.get(key).isBoolean()) {
      throw wrong(key, "true or false");
    }
    return map.get(key).asBoolean();
  }

  int integer(String key, int min, int otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    JsonNode node = map.get(key);
    if (!node.isIntegralNumber() || !node.canConvertToInt() || node.asInt() < min) {
      throw wrong(key, "a whole number of at least " + min);
    }
    return node.asInt();
  }

  /** A number above 0. */
  double positive(String key, double otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    double value = number(map.get(key));
    if (!(value > 0) || Double.isInfinite(value)) {
      throw wrong(key, "a number above 0");
    }
    return value;
  }

  /** A number from 0 to 1. */
  double share(String key, double otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    double value = number(map.get(key));
    if (!(value >= 0 && value <= 1)) {
      throw wrong(key, "a number from 0 to 1");
    }
    return value;
  }

  /** One of an enum's names in lower case. */
  <E extends Enum<E>> E oneOf(String key, E otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    List<String> names = new ArrayList<>();
    for (E value : otherwise.getDeclaringClass().getEnumConstants()) {
      String name = value.name().toLowerCase(Locale.ROOT);
      if (map.get(key).asText().equals(name)) {
        return value;
      }
      names.add(name);
    }
    throw wrong(key, "one of " + String.join(", ", names));
  }

  /** A map from any names to texts, in its order; empty where absent. */
  Map<String, String> textMap(String key) {
    return each(key, (path, node) -> text(node, key));
  }

  /** A map from any names to weights; negative ones and NaN are refused. */
  Map<String, Double> weights(String key) {
    return each(
        key,
        (where, node) -> {
          double value = number(node);
          if (!(value >= 0) || Double.isInfinite(value)) {
            throw new UserError(where + ": got " + show(node) + ", needs a number of at least 0");
          }
          return value;
        });
  }

  /** A map from any names to values that {@code read} makes of their path and node. */
  <T> Map<String, T> each(String key, BiFunction<String, JsonNode, T> read) {
    Map<String, T> values = new LinkedHashMap<>();
    Keys inner = any(map.get(key), path(key), "a map");
    for (Map.Entry<String, JsonNode> entry : inner.map.properties()) {
      values.put(entry.getKey(), read.apply(inner.path(entry.getKey()), entry.getValue()));
    }
    return values;
  }

  UserError wrong(String key, String needs) {
    return new UserError(path(key) + ": got " + show(map.get(key)) + ", needs " + needs);
  }

  /** YAML 1.1 reads 1e6 as a text; .nan and .inf as numbers. NaN where it is no number. */
  private static double number(JsonNode node) {
    if (node.isNumber()) {
      return node.asDouble();
    }
    boolean spelled =
        node.isTextual() && node.asText().matches("[-+]?[0-9]*\\.?[0-9]+[eE][-+]?[0-9]{1,3}");
    return spelled ? Double.parseDouble(node.asText()) : Double.NaN;
  }

  private static String show(JsonNode node) {
    return node == null ? "nothing" : node.isTextual() ? "'" + node.asText() + "'" : node.toString();
  }
}
