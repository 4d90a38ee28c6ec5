package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Path;

/**
 * A JSON file that is a list of objects, or objects one after another, as line-delimited JSON under
 * the ending .json is; read one object at a time.
 */
final class JsonArray implements Records {
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  private final Path file;
  private final JsonParser parser;
  private boolean isList;
  private boolean started;
  private long line = 1;
  private UserError broken;

  JsonArray(Path file) {
    this.file = file;
    try {
      parser = JSON.getFactory().createParser(LineReader.open(file));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /** What is behind a fault of syntax has no meaning: it stays the current record. */
  @Override
  public ObjectNode next() {
    if (broken != null) {
      throw broken;
    }
    try {
      JsonToken token = parser.nextToken();
      if (!started) {
        started = true;
        isList = token == JsonToken.START_ARRAY;
        token = isList ? parser.nextToken() : token;
      }
      if (isList && token == JsonToken.END_ARRAY) {
        checkEnd();
        return null;
      }
      return token == null ? null : record();
    } catch (JsonProcessingException e) {
      line = e.getLocation() == null ? line : e.getLocation().getLineNr();
      broken = error(JsonErrors.describe(e) + "; expected objects or a list of them");
    } catch (IOException e) {
      broken = error("cannot be read: " + e.getMessage());
    }
    throw broken;
  }

  @Override
  public long line() {
    return line;
  }

  @Override
  public UserError error(String what) {
    return UserError.at(file, line, what);
  }

  @Override
  public void close() {
    try {
      parser.close();
    } catch (IOException e) {
      throw new UserError(file + ": " + e.getMessage(), e);
    }
  }

  private ObjectNode record() throws IOException {
    line = parser.currentTokenLocation().getLineNr();
    JsonNode node = parser.readValueAsTree();
    if (node instanceof ObjectNode object) {
      return object;
    }
    throw error("not a JSON object; expected objects or a list of them");
  }

  private void checkEnd() throws IOException {
    if (parser.nextToken() != null) {
      line = parser.currentTokenLocation().getLineNr();
      throw error("more after the end of the list");
    }
  }
}
