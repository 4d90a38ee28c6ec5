package dev.caravan.data.task;

import dev.caravan.data.source.Format;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What is learnt from: files, what their records mean, and how these are put into words.
 *
 * @param paths files, folders or globs
 * @param format what the records mean
 * @param fields the format's field names to the files', for those that differ
 * @param template a template's name or file; the format's own by default
 */
public record Task(
    List<String> paths, Format format, Map<String, String> fields, Optional<String> template) {
  public Task {
    paths = List.copyOf(paths);
    fields = Map.copyOf(fields);
  }

  /** Files whose format is told by themselves, with that format's own template. */
  public static Task of(String... paths) {
    return new Task(List.of(paths), Format.AUTO, Map.of(), Optional.empty());
  }

  /** The same task in another format. */
  public Task withFormat(Format other) {
    return new Task(paths, other, fields, template);
  }

  /** The same task with other field names. */
  public Task withFields(Map<String, String> others) {
    return new Task(paths, format, others, template);
  }

  /** The same task in other words. */
  public Task withTemplate(String nameOrFile) {
    return new Task(paths, format, fields, Optional.of(nameOrFile));
  }
}
