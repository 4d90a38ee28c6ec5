package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.Closeable;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Reads the examples of a file in order, one at a time. Every record that is not what its format
 * expects is an error that names file and line.
 */
public abstract class ExampleReader implements Closeable {
  /** GPT-3's fine-tuning files spell the end of a completion; the end token is put there anyway. */
  private static final String END_OF_TEXT = "<|endoftext|>";

  ExampleReader() {}

  /**
   * Opens a file.
   *
   * @param format its format; {@link Format#AUTO} tells it, {@link Format#TOKENS} has a reader of
   *     its own ({@link TokensReader})
   * @param fields the format's field names to the file's, for those that differ
   * @throws UserError if the file cannot be read, or its format not be told
   */
  public static ExampleReader open(Path file, Format format, Map<String, String> fields) {
    Format known = format == Format.AUTO ? FormatDetector.detect(file, fields) : format;
    FieldMap map = new FieldMap(file, known, fields);
    return switch (known) {
      case ALPACA -> new OfRecords(Records.open(file), (in, record) -> alpaca(in, record, map));
      case PROMPT -> new OfRecords(Records.open(file), (in, record) -> prompt(in, record, map));
      case MESSAGES ->
          new OfRecords(Records.open(file), (in, record) -> Conversations.read(in, record, map));
      case FLAN ->
          new OfRecords(
              new TsvRecords(file, Format.FLAN.fields()), (in, record) -> flan(in, record, map));
      case RECORD -> new OfRecords(Records.open(file), (in, record) -> record(record));
      case SUPERNI -> new SuperNaturalInstructions(file);
      case TEXT ->
          DataFiles.ending(file).equals("txt")
              ? new TextFile(file)
              : new OfRecords(
                  Records.open(file),
                  (in, record) -> new Example.Text(map.text(in, record, "text")));
      case TOKENS, AUTO ->
          throw new IllegalArgumentException("format " + known + " has no examples of words");
    };
  }

  /**
   * The format of a file, told if it is {@link Format#AUTO}.
   *
   * @throws UserError if it cannot be told
   */
  public static Format formatOf(Path file, Format format, Map<String, String> fields) {
    return format == Format.AUTO ? FormatDetector.detect(file, fields) : format;
  }

  /**
   * The next example, or null behind the last one.
   *
   * @throws UserError naming file and line; the same object again if nothing can be read behind it
   */
  public abstract Example next();

  /** The line at which the current example begins, from 1. */
  public abstract long line();

  /** An error about the current example. */
  public abstract UserError error(String what);

  @Override
  public abstract void close();

  private static Example alpaca(Records in, ObjectNode record, FieldMap map) {
    String instruction = map.text(in, record, "instruction");
    JsonNode given = map.get(record, "input");
    String input = given == null || given.isNull() ? "" : map.text(in, record, "input");
    String output = map.text(in, record, "output", "response");
    Map<String, String> values = FieldMap.values(record);
    values.put("instruction", instruction);
    values.put("input", input);
    values.put("output", output);
    String prompt = input.isBlank() ? instruction : instruction + "\n" + input;
    return new Example.Fields(values, prompt, output);
  }

  private static Example prompt(Records in, ObjectNode record, FieldMap map) {
    String prompt = map.text(in, record, "prompt");
    String target = map.text(in, record, "target", "completion");
    if (target.endsWith(END_OF_TEXT)) {
      target = target.substring(0, target.length() - END_OF_TEXT.length());
    }
    Map<String, String> values = FieldMap.values(record);
    values.put("prompt", prompt);
    values.put("target", target);
    return new Example.Fields(values, prompt, target);
  }

  private static Example record(ObjectNode record) {
    Map<String, String> values = FieldMap.values(record);
    // Which field is to be learnt only the template's target says.
    return new Example.Fields(values, "", String.join(" ", values.values()));
  }

  private static Example flan(Records in, ObjectNode record, FieldMap map) {
    Map<String, String> values = new LinkedHashMap<>();
    for (String field : Format.FLAN.fields()) {
      values.put(field, map.text(in, record, field));
    }
    String target = values.get("rationale") + " The answer is " + values.get("answer") + ".";
    return new Example.Fields(values, values.get("question"), target);
  }

  /** From a record to an example. */
  private interface Conversion {
    Example apply(Records in, ObjectNode record);
  }

  /** Examples of a file of records, one a record. */
  private static final class OfRecords extends ExampleReader {
    private final Records records;
    private final Conversion conversion;

    OfRecords(Records records, Conversion conversion) {
      this.records = records;
      this.conversion = conversion;
    }

    @Override
    public Example next() {
      ObjectNode record = records.next();
      return record == null ? null : conversion.apply(records, record);
    }

    @Override
    public long line() {
      return records.line();
    }

    @Override
    public UserError error(String what) {
      return records.error(what);
    }

    @Override
    public void close() {
      records.close();
    }
  }
}
