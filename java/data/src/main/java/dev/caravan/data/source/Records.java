package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.Closeable;
import java.nio.file.Path;
import java.util.List;

/**
 * Reads the records of a file one after another, whatever its syntax: each is an object of named
 * fields.
 */
interface Records extends Closeable {
  /**
   * The next record, or null behind the last one.
   *
   * @throws UserError naming file and line; the same object again if nothing can be read behind it
   */
  ObjectNode next();

  /** The line at which the current record begins, from 1. */
  long line();

  /** An error about the current record. */
  UserError error(String what);

  @Override
  void close();

  /**
   * Opens {@code file} by its ending.
   *
   * @throws UserError for an ending that holds no records
   */
  static Records open(Path file) {
    String ending = DataFiles.ending(file);
    return switch (ending) {
      case "jsonl", "ndjson" -> new JsonLines(file);
      case "json" -> new JsonArray(file);
      case "csv" -> new CsvRecords(file);
      case "tsv" -> new TsvRecords(file);
      case "parquet" -> new ParquetRecords(file);
      default ->
          throw new UserError(
              file
                  + ": unknown ending '"
                  + ending
                  + "'; expected jsonl, json, csv, tsv, parquet or txt");
    };
  }

  /**
   * The names of a header line's columns; those without one cannot be asked for.
   *
   * @param where the header line
   * @throws UserError for a name that is there twice, since one column would hide the other
   */
  static List<String> header(List<String> names, LineReader where) {
    for (int i = 0; i < names.size(); i++) {
      int first = names.indexOf(names.get(i));
      if (first < i && !names.get(i).isEmpty()) {
        throw where.error(
            "columns %d and %d are both called '%s'; give one another name"
                .formatted(first + 1, i + 1, names.get(i)));
      }
    }
    return names;
  }

  /**
   * The text of a field that may be a number or a truth value; null where it is missing, null, a
   * list or an object.
   */
  static String scalar(JsonNode value) {
    return value != null && value.isValueNode() && !value.isNull() ? value.asText() : null;
  }
}
