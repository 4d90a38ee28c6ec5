package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;

/** JSON, one object a line. */
final class JsonLines extends LineRecords {
  private static final ObjectReader JSON =
      new ObjectMapper()
          .enable(
              DeserializationFeature.FAIL_ON_TRAILING_TOKENS,
              DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .readerFor(JsonNode.class);

  JsonLines(Path file) {
    super(file);
  }

  @Override
  ObjectNode parse(LineReader line) {
    try {
      JsonNode node = JSON.readTree(line.bytes(), line.start(), line.length());
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
