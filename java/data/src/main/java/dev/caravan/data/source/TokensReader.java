package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import dev.caravan.data.Row;
import dev.caravan.data.UserError;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Reads rows that are tokenized already, the {@code tokens} format: one JSON object a line, {@code
 * {"input_ids": [...], "labels": [...]}}, both of the same length; label -100 means no loss; other
 * keys are passed over. Blank lines are skipped.
 *
 * <p>The arrays are reused: they are valid until the next row.
 */
public final class TokensReader implements Closeable {
  private static final JsonFactory JSON = new JsonFactory();
  private static final String EXPECTED = "{\"input_ids\": [...], \"labels\": [...]}";

  private final LineReader lines;
  private final int vocabSize;
  private final boolean pairs;
  private int[] ids = new int[256];
  private int[] labels = new int[256];
  private int length;
  private int labelCount;

  /**
   * @param vocabSize token ids must be below it
   * @throws UserError if the file cannot be opened
   */
  public TokensReader(Path file, int vocabSize) {
    this(file, vocabSize, false);
  }

  /**
   * A file for an encoder-decoder, whose labels may be more or fewer than its input_ids.
   *
   * @param vocabSize token ids must be below it
   * @throws UserError if the file cannot be opened
   */
  public static TokensReader pairs(Path file, int vocabSize) {
    return new TokensReader(file, vocabSize, true);
  }

  private TokensReader(Path file, int vocabSize, boolean pairs) {
    this.pairs = pairs;
    if (vocabSize < 1) {
      throw new IllegalArgumentException("vocabSize must be at least 1, got " + vocabSize);
    }
    if (DataFiles.ending(file).equals("parquet")) {
      throw new UserError(file + ": tokens are read from JSON lines alone; needs a .jsonl file");
    }
    lines = new LineReader(file);
    this.vocabSize = vocabSize;
  }

  /**
   * Goes to the next row. Returns false behind the last one.
   *
   * @throws UserError naming file and line: no such object, arrays of different lengths, an entry
   *     that is not a whole number, or a token id outside the vocabulary
   */
  public boolean next() {
    while (lines.next()) {
      if (!lines.isBlank()) {
        parse();
        return true;
      }
    }
    return false;
  }

  /** Token ids of the current row, [length]. */
  public int[] ids() {
    return ids;
  }

  /** Labels of the current row, [length]. */
  public int[] labels() {
    return labels;
  }

  /** The tokens of the current row. */
  public int length() {
    return length;
  }

  /** The labels of the current row; as many as its tokens unless the file is of pairs. */
  public int labelled() {
    return labelCount;
  }

  /** The line of the current row, from 1. */
  public long line() {
    return lines.line();
  }

  /** An error about the current row. */
  public UserError error(String what) {
    return lines.error(what);
  }

  @Override
  public void close() {
    lines.close();
  }

  private void parse() {
    length = -1;
    labelCount = -1;
    try (JsonParser parser = JSON.createParser(lines.bytes(), lines.start(), lines.length())) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw error("not a JSON object; expected " + EXPECTED);
      }
      while (parser.nextToken() != JsonToken.END_OBJECT) {
        String key = parser.currentName();
        parser.nextToken();
        if (key.equals("input_ids") && length >= 0 || key.equals("labels") && labelCount >= 0) {
          throw error("'" + key + "' twice; expected " + EXPECTED);
        }
        switch (key) {
          case "input_ids" -> length = array(parser, key, false);
          case "labels" -> labelCount = array(parser, key, true);
          default -> parser.skipChildren();
        }
      }
      if (parser.nextToken() != null) {
        throw error("more than one JSON value; expected one object a line");
      }
    } catch (JsonProcessingException e) {
      throw error(JsonErrors.describe(e) + "; expected " + EXPECTED);
    } catch (IOException e) {
      throw error("cannot be read: " + e.getMessage());
    }
    if (length < 0 || labelCount < 0) {
      throw error("no '" + (length < 0 ? "input_ids" : "labels") + "'; expected " + EXPECTED);
    }
    if (length != labelCount && !pairs) {
      throw error(length + " input_ids but " + labelCount + " labels; expected as many");
    }
  }

  private int array(JsonParser parser, String key, boolean isLabels) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw error("'" + key + "' is not an array; expected " + EXPECTED);
    }
    int[] into = isLabels ? labels : ids;
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
        throw error(key + "[" + count + "] is " + parser.getText() + ", expected a whole number");
      }
      if (count == into.length) {
        into = Arrays.copyOf(into, 2 * count);
      }
      into[count] = token(parser, key, count, isLabels);
      count++;
    }
    if (isLabels) {
      labels = into;
    } else {
      ids = into;
    }
    return count;
  }

  private int token(JsonParser parser, String key, int at, boolean isLabels) throws IOException {
    JsonParser.NumberType type = parser.getNumberType();
    long id = type == JsonParser.NumberType.BIG_INTEGER ? Long.MAX_VALUE : parser.getLongValue();
    if (isLabels && id == Row.NO_TARGET) {
      return Row.NO_TARGET;
    }
    if (id < 0 || id >= vocabSize) {
      throw error(
          key
              + "["
              + at
              + "] is "
              + parser.getText()
              + ", outside the vocabulary of "
              + vocabSize
              + " (ids 0 to "
              + (vocabSize - 1)
              + (isLabels ? ", or -100 for no loss)" : ")"));
    }
    return (int) id;
  }
}
