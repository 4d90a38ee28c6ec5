package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;

/** Jackson's complaints in one short line. */
final class JsonErrors {
  private static final int LONGEST = 160;

  private JsonErrors() {}

  /** {@code not valid JSON (column 17: Unexpected character ...)}. */
  static String describe(JsonProcessingException e) {
    String message = e.getOriginalMessage();
    int lineEnd = message.indexOf('\n');
    message = lineEnd < 0 ? message : message.substring(0, lineEnd);
    if (message.length() > LONGEST) {
      message = message.substring(0, LONGEST) + "...";
    }
    JsonLocation where = e.getLocation();
    String column = where == null ? "" : "column " + where.getColumnNr() + ": ";
    return "not valid JSON (" + column + message + ")";
  }
}
