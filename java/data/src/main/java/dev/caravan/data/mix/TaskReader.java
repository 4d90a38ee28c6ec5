package dev.caravan.data.mix;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.TemplateMismatch;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;

/** Reads the examples of a task and checks that its templates have words for each. */
final class TaskReader {
  private final TaskSpec task;
  private final MixtureSpec.BadRows badRows;
  private long read;
  private long skipped;
  private String firstBad;

  TaskReader(TaskSpec task, MixtureSpec.BadRows badRows) {
    this.task = task;
    this.badRows = badRows;
  }

  /** Takes an example with its place. */
  interface Sink {
    void add(Example example, Path file, long line);
  }

  /**
   * Reads all files in order.
   *
   * @param templates that every example must fit
   * @throws UserError for a bad row unless these are skipped, naming file, line and field; for a
   *     field that a template needs and a file's first record does not have; when none is left
   */
  void read(List<Template> templates, Sink into) {
    List<Path> files = DataFiles.resolve(task.paths());
    for (Path file : files) {
      Format format = ExampleReader.formatOf(file, task.format(), task.fields());
      if (format == Format.TEXT || format == Format.TOKENS) {
        throw new UserError(
            file
                + ": holds "
                + format.id()
                + ", other files of task '"
                + task.name()
                + "' hold examples; make it a task of its own");
      }
      if (format == Format.SUPERNI && task.wording().shots().isPresent() && files.size() > 1) {
        throw new UserError(
            "task '"
                + task.name()
                + "': its files are tasks of their own, so exemplars would be of other tasks;"
                + " set each_file: true");
      }
      read(file, format, templates, into);
      if (isFull()) {
        break;
      }
    }
    if (read == skipped) {
      throw new UserError(
          "task '"
              + task.name()
              + "' has no rows in "
              + (files.size() == 1 ? files.get(0) : files.size() + " files")
              + (firstBad == null ? "" : "; the first of " + skipped + " bad ones: " + firstBad));
    }
  }

  /** Rows that were left out as bad. */
  long skipped() {
    return skipped;
  }

  private boolean isFull() {
    return task.rows() > 0 && read - skipped >= task.rows();
  }

  private void read(Path file, Format format, List<Template> templates, Sink into) {
    try (ExampleReader reader = ExampleReader.open(file, format, task.fields())) {
      UserError badBefore = null;
      boolean first = true;
      while (!isFull()) {
        Example example;
        try {
          example = reader.next();
        } catch (UserError e) {
          if (e == badBefore) { // the reader does not get past it
            throw e;
          }
          badBefore = e;
          bad(e);
          continue;
        }
        if (example == null) {
          return;
        }
        Optional<UserError> wrong = wrong(reader, example, templates, first);
        first = false;
        if (wrong.isPresent()) {
          bad(wrong.get());
        } else {
          read++;
          into.add(example, file, reader.line());
        }
      }
    }
  }

  private void bad(UserError e) {
    if (badRows == MixtureSpec.BadRows.STOP) {
      throw e;
    }
    read++;
    skipped++;
    firstBad = firstBad == null ? e.getMessage() : firstBad;
  }

  private Optional<UserError> wrong(
      ExampleReader reader, Example example, List<Template> templates, boolean first) {
    for (Template template : templates) {
      try {
        Example worded = task.wording().apply(example, template, 0);
        Optional<String> field = template.missing(worded);
        if (field.isPresent()) {
          UserError error = reader.error(lacks(template, field.get(), worded));
          if (first) {
            throw error;
          }
          return Optional.of(error);
        }
        if (task.wording().shots().isPresent() && template.exemplar(worded).isEmpty()) {
          throw new UserError(
              "task '"
                  + task.name()
                  + "': template '"
                  + template.name()
                  + "' cannot have exemplars; shots need templates of prompt and target");
        }
        if (example instanceof Example.Chat) {
          template.render(example);
        }
      } catch (TemplateMismatch e) {
        return Optional.of(reader.error(e.getMessage()));
      }
    }
    return Optional.empty();
  }

  private static String lacks(Template template, String field, Example example) {
    TreeSet<String> known = new TreeSet<>();
    if (example instanceof Example.Fields fields) {
      known.addAll(fields.values().keySet());
    }
    return "template '"
        + template.name()
        + "' needs the field '"
        + field
        + "', which the record does not have: "
        + Nearest.unknown("field", field, known);
  }
}
