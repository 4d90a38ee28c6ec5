package dev.caravan.data.doctor;

import dev.caravan.data.UserError;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * Files of examples, as a run or a task of a mixture names them.
 *
 * @param name for messages
 * @param paths files, folders or globs
 * @param format what a record means
 * @param fields the format's field names to the files', for those that differ
 * @param rows only so many of the first rows; 0 for all
 */
public record Source(
    String name, List<String> paths, Format format, Map<String, String> fields, int rows) {
  public Source {
    paths = List.copyOf(paths);
    fields = Map.copyOf(fields);
  }

  /** Takes an example with its place. */
  interface Sink {
    void add(Example example, String where);
  }

  /** Reads all examples in words; files of tokens have none, and bad records are passed over. */
  void read(Sink into) {
    long taken = 0;
    for (Path file : DataFiles.resolve(paths)) {
      Format known = ExampleReader.formatOf(file, format, fields);
      if (known == Format.TOKENS) {
        continue;
      }
      try (ExampleReader reader = ExampleReader.open(file, known, fields)) {
        UserError bad = null;
        while (rows == 0 || taken < rows) {
          Example example;
          try {
            example = reader.next();
          } catch (UserError e) {
            if (e == bad) { // the reader does not get past it
              break;
            }
            bad = e;
            continue;
          }
          if (example == null) {
            break;
          }
          taken++;
          into.add(example, file + ":" + reader.line());
        }
      }
    }
  }
}
