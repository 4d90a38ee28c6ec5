package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Path;

/**
 * A JSON file that is a list of objects, read one object at a time; or one object, which is then
 * the only record.
 */
final class JsonArray implements Records {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path file;
  private final JsonParser parser;
  private boolean isList;
  private boolean started;
  private long line = 1;

  JsonArray(Path file) {
    this.file = file;
    try {
      parser = JSON.getFactory().createParser(LineReader.open(file));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  @Override
  public ObjectNode next() {
    try {
      if (!started) {
        started = true;
        isList = parser.nextToken() == JsonToken.START_ARRAY;
        if (!isList) {
          return parser.currentToken() == null ? null : record();
        }
      } else if (!isList) {
        return ended();
      }
      return parser.nextToken() == JsonToken.END_ARRAY ? ended() : record();
    } catch (JsonProcessingException e) {
      line = e.getLocation() == null ? line : e.getLocation().getLineNr();
      throw error(JsonErrors.describe(e) + "; expected a list of objects");
    } catch (IOException e) {
      throw error("cannot be read: " + e.getMessage());
    }
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
    throw error("not a JSON object; expected a list of objects");
  }

  private ObjectNode ended() throws IOException {
    if (parser.nextToken() != null) {
      line = parser.currentTokenLocation().getLineNr();
      throw error("more after the end of the list; for one object a line, name the file .jsonl");
    }
    return null;
  }
}
