package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.List;

/**
 * Tab-separated values without any quoting. The names come from a header line, or are given for
 * files without one, where a literal {@code \n} in a field means a line feed (FLAN's way). Blank
 * lines are skipped.
 */
final class TsvRecords implements Records {
  private final LineReader lines;
  private final List<String> names;
  private final boolean escapedLineFeeds;

  /** A file whose first line names the fields. */
  TsvRecords(Path file) {
    lines = new LineReader(file);
    names = nextFields() ? List.of(split()) : List.of();
    escapedLineFeeds = false;
  }

  /** A file without a header, with escaped line feeds. */
  TsvRecords(Path file, List<String> names) {
    lines = new LineReader(file);
    this.names = names;
    escapedLineFeeds = true;
  }

  @Override
  public ObjectNode next() {
    if (!nextFields()) {
      return null;
    }
    String[] values = split();
    if (values.length != names.size()) {
      throw error(
          values.length
              + " tab-separated fields, expected "
              + names.size()
              + ": "
              + String.join(", ", names));
    }
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    for (int i = 0; i < values.length; i++) {
      node.put(names.get(i), escapedLineFeeds ? values[i].replace("\\n", "\n") : values[i]);
    }
    return node;
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

  private boolean nextFields() {
    do {
      if (!lines.next()) {
        return false;
      }
    } while (lines.isBlank());
    return true;
  }

  private String[] split() {
    return lines.text().split("\t", -1);
  }
}
