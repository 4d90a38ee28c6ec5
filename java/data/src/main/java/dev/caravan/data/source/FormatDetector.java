package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Tells the format of a file by its ending, by {@code fields}, and by the names of its first
 * record's fields.
 */
final class FormatDetector {
  /** A file with so many malformed records first is no file of records. */
  private static final int LOOKED_AT = 100;

  private FormatDetector() {}

  /**
   * The format of {@code file}. An empty file counts as {@link Format#PROMPT}: it has no record to
   * tell.
   *
   * @param fields what {@code fields} maps
   * @throws UserError if the first record fits no format or more than one, or all are malformed
   */
  static Format detect(Path file, Map<String, String> fields) {
    String ending = DataFiles.ending(file);
    if (ending.equals("txt")) {
      return Format.TEXT;
    }
    if (ending.equals("tsv")) {
      return ofTsv(file, fields);
    }
    try (Records records = Records.open(file)) {
      return of(records, fields);
    }
  }

  private static Format of(Records records, Map<String, String> fields) {
    ObjectNode first = first(records);
    if (first == null) {
      return Format.PROMPT;
    }
    Set<Format> fitting = EnumSet.noneOf(Format.class);
    if (fields.isEmpty()) {
      fitting.addAll(byNames(first));
    } else {
      for (Format format : Format.values()) {
        if (format.isMappable() && format.fields().containsAll(fields.keySet())) {
          fitting.add(format);
        }
      }
    }
    if (fitting.size() == 1) {
      return fitting.iterator().next();
    }
    if (fitting.isEmpty()) {
      throw records.error(
          "the format cannot be told from the fields "
              + FieldMap.fieldsOf(first)
              + "; set format, and fields where the names differ, as in"
              + " {prompt: question, target: answer}");
    }
    throw records.error(
        "the fields "
            + FieldMap.fieldsOf(first)
            + " fit several formats: "
            + fitting.stream().map(Format::id).collect(Collectors.joining(", "))
            + "; set format to one of them");
  }

  /**
   * The first record that is not malformed: whether those before it stop the run is for its reader
   * to say. Null if there is no record at all.
   */
  private static ObjectNode first(Records records) {
    UserError bad = null;
    for (int looked = 0; looked < LOOKED_AT; looked++) {
      try {
        ObjectNode next = records.next();
        if (next != null || bad == null) {
          return next;
        }
      } catch (UserError e) {
        bad = bad == null ? e : bad;
      }
    }
    throw bad;
  }

  /** The formats whose fields a record has. Raw text counts only if nothing else does. */
  private static Set<Format> byNames(ObjectNode record) {
    Set<Format> fitting = EnumSet.noneOf(Format.class);
    if (record.has("input_ids") && record.has("labels")) {
      fitting.add(Format.TOKENS);
    }
    if (record.has("messages") || record.has("conversations")) {
      fitting.add(Format.MESSAGES);
    }
    if (record.has("instruction") && (record.has("output") || record.has("response"))) {
      fitting.add(Format.ALPACA);
    }
    if (record.has("prompt") && (record.has("target") || record.has("completion"))) {
      fitting.add(Format.PROMPT);
    }
    if (record.has("Definition") && record.has("Instances")) {
      fitting.add(Format.SUPERNI);
    }
    if (fitting.isEmpty() && record.has("text")) {
      fitting.add(Format.TEXT);
    }
    return fitting;
  }

  /** FLAN's files have no header: three columns of which none is called like a field. */
  private static Format ofTsv(Path file, Map<String, String> fields) {
    try (LineReader lines = new LineReader(file)) {
      if (!lines.next()) {
        return Format.FLAN;
      }
      String[] columns = lines.text().split("\t", -1);
      Set<String> names = Set.of("prompt", "target", "completion", "instruction", "output", "text");
      boolean header = !fields.isEmpty();
      for (String column : columns) {
        header |= names.contains(column);
      }
      if (!header && columns.length == 3) {
        return Format.FLAN;
      }
      if (!header) {
        throw lines.error(
            columns.length
                + " tab-separated columns and no header that is known; expected FLAN's three"
                + " (question, answer, rationale), or set format and fields for a file"
                + " with a header");
      }
    }
    try (Records records = new TsvRecords(file)) {
      return of(records, fields);
    }
  }
}
