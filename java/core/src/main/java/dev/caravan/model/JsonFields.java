package dev.caravan.model;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;

/** Typed, range-checked reading of one JSON object; a null value counts as absent. */
final class JsonFields {
  private final JsonNode object;
  private final String where;

  /**
   * @param object the JSON object
   * @param where what an error names before the key, for example {@code config.json: }
   */
  JsonFields(JsonNode object, String where) {
    this.object = object;
    this.where = where;
  }

  boolean has(String key) {
    return object.hasNonNull(key);
  }

  /** A whole number of at least {@code min}, which must be there. */
  int integer(String key, int min) {
    if (!has(key)) {
      throw new UserError(where + key + ": missing, needs a whole number of at least " + min);
    }
    return integer(key, min, 0);
  }

  /** A whole number of at least {@code min}, or the default where absent. */
  int integer(String key, int min, int otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    JsonNode value = object.get(key);
    boolean whole = value.isIntegralNumber() || (value.isNumber() && value.asDouble() % 1 == 0);
    if (!whole || value.asDouble() < min || value.asDouble() > Integer.MAX_VALUE) {
      throw wrong(key, "a whole number of at least " + min);
    }
    return value.asInt();
  }

  /** A finite number above zero, which must be there. */
  double positive(String key) {
    if (!has(key)) {
      throw new UserError(where + key + ": missing, needs a number above 0");
    }
    return positive(key, 0);
  }

  /** A finite number above zero, or the default where absent. */
  double positive(String key, double otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    JsonNode value = object.get(key);
    if (!value.isNumber() || !(value.asDouble() > 0) || Double.isInfinite(value.asDouble())) {
      throw wrong(key, "a number above 0");
    }
    return value.asDouble();
  }

  boolean bool(String key, boolean otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    if (!object.get(key).isBoolean()) {
      throw wrong(key, "true or false");
    }
    return object.get(key).asBoolean();
  }

  /** A list of whole numbers from 0 on; null where absent. */
  List<Integer> indices(String key, String needs) {
    if (!has(key)) {
      return null;
    }
    List<Integer> indices = new ArrayList<>();
    for (JsonNode index : object.get(key)) {
      if (index.isInt() && index.asInt() >= 0) {
        indices.add(index.asInt());
      }
    }
    if (!object.get(key).isArray() || indices.size() < object.get(key).size()) {
      throw wrong(key, needs);
    }
    return indices;
  }

  String text(String key, String otherwise) {
    if (!has(key)) {
      return otherwise;
    }
    if (!object.get(key).isTextual()) {
      throw wrong(key, "a text");
    }
    return object.get(key).asText();
  }

  UserError wrong(String key, String needs) {
    return new UserError(where + key + ": got " + object.get(key) + ", needs " + needs);
  }
}
