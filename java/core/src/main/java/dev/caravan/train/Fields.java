package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * One map of a run file, read strictly: unknown keys, wrong types and values out of range are
 * errors that name the dotted key, what was got and what is needed. A null value counts as absent.
 */
final class Fields {
  private final JsonNode map;
  private final String prefix;

  private Fields(JsonNode map, String path) {
    this.map = map;
    this.prefix = path.isEmpty() ? "" : path + ".";
  }

  /**
   * Takes a map and refuses keys that are not known.
   *
   * @param node the map; null or a null node is an empty map
   * @param path its dotted key; empty for the whole run file
   * @param known every key that it may have
   */
  static Fields of(JsonNode node, String path, List<String> known) {
    if (node == null || node.isNull() || node.isMissingNode()) {
      return new Fields(JsonNodeFactory.instance.objectNode(), path);
    }
    Fields fields = new Fields(node, path);
    if (!node.isObject()) {
      throw new UserError(
          (path.isEmpty() ? "run file" : path)
              + (": got " + show(node) + ", needs a map with ")
              + String.join(", ", known));
    }
    for (var entry : node.properties()) {
      if (!known.contains(entry.getKey())) {
        throw new UserError(
            fields.prefix + entry.getKey() + ": " + Nearest.unknown("key", entry.getKey(), known));
      }
    }
    return fields;
  }

  /** The map under a key; see {@link #of}. */
  Fields map(String key, String... known) {
    return of(map.get(key), prefix + key, List.of(known));
  }

  boolean has(String key) {
    return map.hasNonNull(key);
  }

  /** The raw value; null where absent. */
  JsonNode raw(String key) {
    return has(key) ? map.get(key) : null;
  }

  int integer(String key, int min, int otherwise) {
    return integer(key, min).orElse(otherwise);
  }

  OptionalInt integer(String key, int min) {
    if (!has(key)) {
      return OptionalInt.empty();
    }
    return OptionalInt.of((int) whole(key, min, Integer.MAX_VALUE));
  }

  long longInteger(String key, long min, long otherwise) {
    return has(key) ? whole(key, min, Long.MAX_VALUE) : otherwise;
  }

  private long whole(String key, long min, long max) {
    BigDecimal value = decimal(map.get(key));
    boolean good =
        value != null
            && value.stripTrailingZeros().scale() <= 0
            && value.compareTo(BigDecimal.valueOf(min)) >= 0
            && value.compareTo(BigDecimal.valueOf(max)) <= 0;
    if (!good) {
      throw wrong(key, "a whole number of at least " + min);
    }
    return value.longValueExact();
  }

  /** A number in [min, max]. */
  double number(String key, double min, double max, double otherwise) {
    return number(key, min, max).orElse(otherwise);
  }

  OptionalDouble number(String key, double min, double max) {
    if (!has(key)) {
      return OptionalDouble.empty();
    }
    return OptionalDouble.of(inRange(map.get(key), key, min, max));
  }

  /** A number above zero. */
  double positive(String key, double otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    BigDecimal value = decimal(map.get(key));
    if (value == null || value.signum() <= 0 || Double.isInfinite(value.doubleValue())) {
      throw wrong(key, "a number above 0");
    }
    return value.doubleValue();
  }

  /** A list of {@code otherwise.length} numbers in [min, max). */
  double[] numbers(String key, double min, double max, double... otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    JsonNode list = map.get(key);
    if (!list.isArray() || list.size() != otherwise.length) {
      throw wrong(key, "a list of " + otherwise.length + " numbers");
    }
    double[] values = new double[otherwise.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = inRange(list.get(i), key, min, Math.nextDown(max));
    }
    return values;
  }

  private double inRange(JsonNode node, String key, double min, double max) {
    BigDecimal value = decimal(node);
    if (value == null || value.doubleValue() < min || value.doubleValue() > max) {
      String needs = max == Double.MAX_VALUE ? "of at least " + min : "from " + min + " to " + max;
      throw wrong(key, "a number " + needs.replace(".0", ""));
    }
    return value.doubleValue();
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

  /** True, false, or nothing where the choice is left open. */
  Optional<Boolean> boolOrAuto(String key) {
    if (!has(key) || map.get(key).asText().equals("auto")) {
      return Optional.empty();
    }
    if (!map.get(key).isBoolean()) {
      throw wrong(key, "auto, true or false");
    }
    return Optional.of(map.get(key).asBoolean());
  }

  /** A text; a number is taken as its digits, so that a folder may be called 7. */
  String text(String key, String otherwise) {
    return has(key) ? text(map.get(key), key) : otherwise;
  }

  private String text(JsonNode node, String key) {
    if (!node.isTextual() && !node.isNumber() || node.asText().isBlank()) {
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
    if (node.isEmpty()) {
      throw wrong(key, "at least one entry");
    }
    List<String> values = new ArrayList<>();
    node.forEach(value -> values.add(text(value, key)));
    return List.copyOf(values);
  }

  /**
   * A map from any names to texts, in its order; empty where absent.
   *
   * @param needs what the error says is needed instead of something else
   */
  Map<String, String> textMap(String key, String needs) {
    Map<String, String> values = new LinkedHashMap<>();
    if (!has(key)) {
      return values;
    }
    if (!map.get(key).isObject()) {
      throw wrong(key, needs);
    }
    for (Map.Entry<String, JsonNode> entry : map.get(key).properties()) {
      if (!entry.getValue().isTextual()) {
        throw wrong(key, "texts as values");
      }
      values.put(entry.getKey(), entry.getValue().asText());
    }
    return values;
  }

  /** One of an enum's names in lower case. */
  <E extends Enum<E>> E oneOf(String key, E otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    List<String> names = new ArrayList<>();
    for (E value : otherwise.getDeclaringClass().getEnumConstants()) {
      String name = name(value);
      if (map.get(key).isTextual() && map.get(key).asText().equals(name)) {
        return value;
      }
      names.add(name);
    }
    throw wrong(key, "one of " + String.join(", ", names));
  }

  /**
   * A copy of a tree that is read by others, with every text that spells a number with an exponent
   * turned into that number; see {@link #decimal}.
   */
  static JsonNode withNumbers(JsonNode node) {
    if (node.isObject()) {
      ObjectNode copy = JsonNodeFactory.instance.objectNode();
      node.properties().forEach(e -> copy.set(e.getKey(), withNumbers(e.getValue())));
      return copy;
    }
    if (node.isArray()) {
      ArrayNode copy = JsonNodeFactory.instance.arrayNode();
      node.forEach(value -> copy.add(withNumbers(value)));
      return copy;
    }
    BigDecimal value = node.isTextual() ? decimal(node) : null;
    return value == null ? node : JsonNodeFactory.instance.numberNode(value.doubleValue());
  }

  /** The spelling of an enum's value in a run file. */
  static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  /** Refuses more than one of the keys. */
  void atMostOneOf(String... keys) {
    List<String> given = new ArrayList<>();
    for (String key : keys) {
      if (has(key)) {
        given.add(prefix + key);
      }
    }
    if (given.size() > 1) {
      throw new UserError(String.join(" and ", given) + ": both given, needs one of them");
    }
  }

  UserError wrong(String key, String needs) {
    return new UserError(prefix + key + ": got " + show(map.get(key)) + ", needs " + needs);
  }

  UserError notBuilt(String key) {
    return new UserError(prefix + key + ": " + show(map.get(key)) + " is not built yet");
  }

  private static String show(JsonNode node) {
    return node.isTextual() ? "'" + node.asText() + "'" : node.toString();
  }

  /**
   * The number that a node holds, or null. YAML 1.1, which the parser follows, reads 1e-3 as a
   * text; the run file promises that it is a number.
   */
  private static BigDecimal decimal(JsonNode node) {
    if (node.isNumber()) {
      return node.isFloatingPointNumber() && !Double.isFinite(node.asDouble())
          ? null
          : node.decimalValue();
    }
    if (!node.isTextual()
        || !node.asText().matches("[-+]?[0-9]*\\.?[0-9]+([eE][-+]?[0-9]{1,3})?")) {
      return null;
    }
    return new BigDecimal(node.asText().toLowerCase(Locale.ROOT));
  }
}
