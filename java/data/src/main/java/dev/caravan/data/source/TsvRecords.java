package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;

/**
 * Tab-separated values without any quoting. The names come from a header line, or are given for
 * files without one, where a literal {@code \n} in a field means a line feed (FLAN's way).
 */
final class TsvRecords extends LineRecords {
  private final List<String> names;
  private final boolean escapedLineFeeds;

  /** A file whose first line names the fields. */
  TsvRecords(Path file) {
    super(file);
    names = nextLine() ? Records.header(List.of(split(current())), current()) : List.of();
    escapedLineFeeds = false;
  }

  /** A file without a header, with escaped line feeds. */
  TsvRecords(Path file, List<String> names) {
    super(file);
    this.names = names;
    escapedLineFeeds = true;
  }

  @Override
  ObjectNode parse(LineReader line) {
    String[] values = split(line);
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

  private static String[] split(LineReader line) {
    return line.text().split("\t", -1);
  }
}
