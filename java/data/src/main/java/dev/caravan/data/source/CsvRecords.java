package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Comma-separated values with a header line, quoted as RFC 4180 says: a field in double quotes may
 * hold commas, line ends and doubled quotes. Blank lines are skipped.
 */
final class CsvRecords implements Records {
  private final LineReader lines;
  private final List<String> header;
  private final String expected;
  private long line;
  private UserError unclosed;

  CsvRecords(Path file) {
    lines = new LineReader(file);
    List<String> first = record();
    header = first == null ? List.of() : Records.header(first, lines);
    expected = " fields, but the header has " + header.size();
  }

  /** A file without a header line. */
  CsvRecords(Path file, List<String> names) {
    lines = new LineReader(file);
    header = names;
    expected = " fields, needs %d: %s".formatted(names.size(), String.join(", ", names));
  }

  @Override
  public ObjectNode next() {
    List<String> values = record();
    if (values == null) {
      return null;
    }
    if (values.size() != header.size()) {
      throw error(values.size() + expected);
    }
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    for (int i = 0; i < values.size(); i++) {
      node.put(header.get(i), values.get(i));
    }
    return node;
  }

  @Override
  public long line() {
    return line;
  }

  @Override
  public UserError error(String what) {
    return new UserError(lines.file() + ":" + line + ": " + what);
  }

  @Override
  public void close() {
    lines.close();
  }

  /**
   * The fields of the next record, which may run over several lines; null behind the last one. A
   * quote that is never closed takes in the rest of the file, so nothing comes behind it.
   */
  private List<String> record() {
    if (unclosed != null) {
      throw unclosed;
    }
    do {
      if (!lines.next()) {
        return null;
      }
    } while (lines.isBlank());
    line = lines.line();
    List<String> fields = new ArrayList<>();
    String text = lines.text();
    int at = 0;
    while (true) {
      if (at < text.length() && text.charAt(at) == '"') {
        StringBuilder field = new StringBuilder();
        at++;
        while (true) {
          int quote = text.indexOf('"', at);
          if (quote < 0) {
            field.append(text, at, text.length()).append('\n');
            if (!lines.next()) {
              unclosed = error("a quoted field that never ends");
              throw unclosed;
            }
            text = lines.text();
            at = 0;
          } else if (quote + 1 < text.length() && text.charAt(quote + 1) == '"') {
            field.append(text, at, quote + 1);
            at = quote + 2;
          } else {
            field.append(text, at, quote);
            at = quote + 1;
            break;
          }
        }
        fields.add(field.toString());
        if (at < text.length() && text.charAt(at) != ',') {
          throw error("text behind the closing quote of field " + fields.size());
        }
      } else {
        int comma = text.indexOf(',', at);
        int end = comma < 0 ? text.length() : comma;
        fields.add(text.substring(at, end));
        at = end;
      }
      if (at == text.length()) {
        return fields;
      }
      at++;
    }
  }
}
