package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.data.source.RecordReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** Finds the files of benchmarks and reads their rows, with errors that say which. */
final class Rows {
  /**
   * A row.
   *
   * @param fields what it holds
   * @param where FILE:LINE, or FILE and its number
   */
  record Row(JsonNode fields, String where) {
    /** A text, a number or a truth value that has to be there. */
    String text(String field) {
      JsonNode value = fields.get(field);
      if (value == null || !value.isValueNode() || value.isNull()) {
        throw error("no text '" + field + "'");
      }
      return value.asText();
    }

    /** A list or an object that has to be there. */
    JsonNode tree(String field) {
      JsonNode value = fields.get(field);
      if (value == null || !value.isContainerNode()) {
        throw error("no list or object '" + field + "'");
      }
      return value;
    }

    /** A whole number below a bound. */
    int index(String field, int bound) {
      String text = text(field).strip();
      if (!text.matches("[0-9]{1,6}") || Integer.parseInt(text) >= bound) {
        throw error("'" + field + "' is '" + text + "', needs 0 to " + (bound - 1));
      }
      return Integer.parseInt(text);
    }

    /** The elements of a list, each a row. */
    List<Row> rows(String field) {
      List<Row> rows = new ArrayList<>();
      for (JsonNode element : tree(field)) {
        rows.add(new Row(element, where + ", " + field + " " + (rows.size() + 1)));
      }
      return rows;
    }

    /** The elements of a list that must have some. */
    List<Row> some(String field) {
      List<Row> rows = rows(field);
      if (rows.isEmpty()) {
        throw error("'" + field + "' is empty");
      }
      return rows;
    }

    UserError error(String what) {
      return new UserError(where + ": " + what);
    }
  }

  private Rows() {}

  /** All rows of a file whose ending says its form. */
  static List<Row> of(Path file) {
    return all(RecordReader.open(file), file);
  }

  /** All rows of a file of tab-separated values without header. */
  static List<Row> tsv(Path file, String... names) {
    return all(RecordReader.tsv(file, List.of(names)), file);
  }

  /** All rows of a file of comma-separated values without header. */
  static List<Row> csv(Path file, String... names) {
    return all(RecordReader.csv(file, List.of(names)), file);
  }

  private static List<Row> all(RecordReader reader, Path file) {
    List<Row> rows = new ArrayList<>();
    try (reader) {
      for (ObjectNode row = reader.next(); row != null; row = reader.next()) {
        rows.add(new Row(row, file + ":" + reader.line()));
      }
    }
    if (rows.isEmpty()) {
      throw new UserError(file + ": no row in it");
    }
    return rows;
  }

  /** The first rows. */
  static <T> List<T> first(List<T> rows, OptionalInt limit) {
    return limit.isPresent() && limit.getAsInt() < rows.size()
        ? rows.subList(0, limit.getAsInt())
        : rows;
  }

  /**
   * The folder itself, or the one in it that holds the benchmark, by the first name that exists.
   */
  static Path folder(Path data, String... names) {
    for (String name : names) {
      if (Files.isDirectory(data.resolve(name))) {
        return data.resolve(name);
      }
    }
    if (!Files.exists(data)) {
      throw new UserError(data + ": no such file or folder");
    }
    return data;
  }

  /** The only argument if it is a file, else the files of the folder that are wanted, sorted. */
  static List<Path> files(Path data, Predicate<String> wanted, String expected) {
    if (Files.isRegularFile(data)) {
      return List.of(data);
    }
    try (Stream<Path> all = Files.list(data)) {
      List<Path> files =
          all.filter(Files::isRegularFile)
              .filter(file -> wanted.test(file.getFileName().toString()))
              .sorted()
              .toList();
      if (files.isEmpty()) {
        throw new UserError(data + ": holds no " + expected);
      }
      return files;
    } catch (IOException e) {
      throw new UserError(data + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /** A file that has to be there. */
  static Path required(Path file, String what) {
    if (!Files.isRegularFile(file)) {
      throw new UserError(file + ": no such file; it should hold " + what);
    }
    return file;
  }

  /**
   * The exemplars that a suite takes from the first rows of a training file.
   *
   * @param wanted how many
   * @param explicit whether the user asked for that number, so that fewer are an error
   * @param have how many there are
   * @param where what was looked for
   * @return how many to take
   */
  static int shots(int wanted, boolean explicit, int have, String where) {
    if (explicit && have < wanted) {
      throw new UserError(
          "--shots: got " + wanted + ", but there are " + have + " exemplars (" + where + ")");
    }
    return Math.min(wanted, have);
  }

  /** Whether a file's name ends with a form of rows, packed or not. */
  static boolean isData(String name) {
    return name.matches(".*\\.(jsonl|json|csv|tsv)(\\.gz)?");
  }
}
