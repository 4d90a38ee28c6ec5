package dev.caravan.data.source;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;

/** Jackson's complaints in one short line. */
final class JsonErrors {
  private static final int LONGEST = 160;

  private JsonErrors() {}

  /** {@code not valid JSON (column 17: Unexpected character ...)}. */
  static String describe(JsonProcessingException e) {
    String message = e.getOriginalMessage();
    int lineEnd = message.indexOf('\n');
    message = lineEnd < 0 ? message : message.substring(0, lineEnd);
    // Settings that only a program could change are no help.
    message = message.replaceFirst(" for `ObjectNode`.*|: enable `.*|, from `[^`]*`", "");
    if (message.length() > LONGEST) {
      message = message.substring(0, LONGEST) + "...";
    }
    JsonLocation where = e.getLocation();
    String column = where == null ? "" : "column " + where.getColumnNr() + ": ";
    boolean limit = e instanceof StreamConstraintsException;
    return (limit ? "too much JSON (" : "not valid JSON (") + column + message + ")";
  }
}
