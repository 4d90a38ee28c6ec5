package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Path;

/** JSON, one object a line. Blank lines are skipped. */
final class JsonLines implements Records {
  private static final ObjectReader JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .readerFor(JsonNode.class);

  private final LineReader lines;

  JsonLines(Path file) {
    lines = new LineReader(file);
  }

  @Override
  public ObjectNode next() {
    while (lines.next()) {
      if (!lines.isBlank()) {
        return parse();
      }
    }
    return null;
  }

  @Override
  public long line() {
    return lines.line();
  }

  @Override
  public UserError error(String what) {
    return lines.error(what);
  }

  @Override
  public void close() {
    lines.close();
  }

  private ObjectNode parse() {
    try {
      JsonNode node = JSON.readTree(lines.bytes(), lines.start(), lines.length());
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw error("not a JSON object; expected one object a line");
    } catch (JsonProcessingException e) {
      throw error(JsonErrors.describe(e) + "; expected one object a line");
    } catch (IOException e) {
      throw error("cannot be read: " + e.getMessage());
    }
  }
}
