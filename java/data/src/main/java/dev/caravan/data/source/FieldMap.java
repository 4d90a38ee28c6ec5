package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;

/** From a format's own field names to those of a file: what the key {@code fields} says. */
final class FieldMap {
  private final Format format;
  private final Map<String, String> names;

  /**
   * @param file whose fields they are
   * @param names the format's name to the file's
   * @throws UserError for a name that the format does not have
   */
  FieldMap(Path file, Format format, Map<String, String> names) {
    this.format = format;
    this.names = Map.copyOf(names);
    format
        .refusal(names)
        .ifPresent(
            what -> {
              throw new UserError(file + ": fields: " + what);
            });
  }

  /**
   * The field's value in a record, under the name that is mapped, else under its own or one of the
   * others; null if missing.
   */
  JsonNode get(ObjectNode record, String field, String... otherNames) {
    String mapped = names.get(field);
    if (mapped != null) {
      return record.get(mapped);
    }
    JsonNode value = record.get(field);
    for (int i = 0; value == null && i < otherNames.length; i++) {
      value = record.get(otherNames[i]);
    }
    return value;
  }

  /**
   * The field's value as text.
   *
   * @throws UserError if it is missing, or not text
   */
  String text(Records records, ObjectNode record, String field, String... otherNames) {
    JsonNode value = get(record, field, otherNames);
    String text = Records.scalar(value);
    if (text == null) {
      String name = names.getOrDefault(field, field);
      throw records.error(
          value == null
              ? "no field '" + name + "'; expected " + expected() + ", got " + fieldsOf(record)
              : "field '" + name + "' is not text but " + kind(value));
    }
    return text;
  }

  /**
   * All values that are text, numbers or truth values, and lists of these with a line each. Those
   * of an object within the record have its name and a point before theirs: {@code choices.text}.
   */
  static Map<String, String> values(ObjectNode record) {
    Map<String, String> values = new LinkedHashMap<>();
    putAll(record, "", values);
    return values;
  }

  private static void putAll(JsonNode object, String before, Map<String, String> into) {
    for (Map.Entry<String, JsonNode> field : object.properties()) {
      String name = before + field.getKey();
      String text = text(field.getValue());
      if (text != null) {
        into.putIfAbsent(name, text);
      } else if (field.getValue().isObject()) {
        putAll(field.getValue(), name + ".", into);
      }
    }
  }

  private static String text(JsonNode value) {
    if (!value.isArray()) {
      return Records.scalar(value);
    }
    StringJoiner lines = new StringJoiner("\n");
    for (JsonNode entry : value) {
      String line = Records.scalar(entry);
      if (line == null) {
        return null;
      }
      lines.add(line);
    }
    return lines.toString();
  }

  private String expected() {
    List<String> wanted = format.fields().stream().map(f -> names.getOrDefault(f, f)).toList();
    return String.join(", ", wanted);
  }

  /** The names of a record's fields, for messages. */
  static String fieldsOf(ObjectNode record) {
    StringBuilder text = new StringBuilder();
    record
        .fieldNames()
        .forEachRemaining(name -> text.append(text.isEmpty() ? "" : ", ").append(name));
    return text.isEmpty() ? "none" : text.toString();
  }

  private static String kind(JsonNode value) {
    return value.isNull() ? "null" : value.isArray() ? "a list" : "an object";
  }
}
