package dev.caravan.data.task;

import dev.caravan.data.RowStore;
import dev.caravan.data.UserError;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;

/** Loads files into tokenized rows in memory. */
public final class RowLoader {
  private RowLoader() {}

  /**
   * Loads files of the {@code tokens} format, {@code {"input_ids": [...], "labels": [...]}} a line.
   *
   * @param paths files, folders or globs
   * @throws UserError for a file that is missing or empty, a malformed line, a token id beyond the
   *     vocabulary, a row that is too long, or when no row has a target and the purpose is training
   */
  public static LoadedRows loadTokens(Collection<String> paths, RowLimits limits, Purpose purpose) {
    Task task = new Task(List.copyOf(paths), Format.TOKENS, Map.of(), Optional.empty());
    return load(task, null, limits, purpose);
  }

  /**
   * Loads the files of a task, each in its format.
   *
   * @param tokenizer may be null for files of the {@code tokens} format
   * @throws UserError for a file that is missing or empty, a malformed record (file and line), a
   *     template that does not fit, a token id beyond the vocabulary, a row that is too long and
   *     must not be truncated, or when no row with a target is left and the purpose is training
   */
  public static LoadedRows load(Task task, Tokenizer tokenizer, RowLimits limits, Purpose purpose) {
    return load(task, tokenizer, limits, purpose, example -> false);
  }

  /**
   * As above, without some examples.
   *
   * @param without examples in words that are left out and counted
   */
  public static LoadedRows load(
      Task task,
      Tokenizer tokenizer,
      RowLimits limits,
      Purpose purpose,
      Predicate<Example> without) {
    RowStore.Builder rows = new RowStore.Builder();
    List<TruncationReport.FileCounts> counts = new ArrayList<>();
    Optional<Template> named = task.template().map(Templates::of);
    TokensLoader tokens = new TokensLoader(limits, purpose);
    for (Path file : DataFiles.resolve(task.paths())) {
      Format format = ExampleReader.formatOf(file, task.format(), task.fields());
      if (format == Format.TOKENS) {
        counts.add(tokens.load(file, rows));
        continue;
      }
      if (tokenizer == null) {
        throw new UserError(
            file
                + ": format "
                + format.id()
                + " needs a tokenizer; set the tokenizer key to its file or folder");
      }
      Template template = named.orElseGet(() -> Templates.forFormat(format, tokenizer));
      ExampleLoader loader = new ExampleLoader(tokenizer, limits, purpose, without);
      counts.add(loader.load(file, format, task.fields(), template, rows));
    }
    return finish(rows, new TruncationReport(counts), purpose);
  }

  private static LoadedRows finish(
      RowStore.Builder rows, TruncationReport report, Purpose purpose) {
    String files =
        report.files().size() == 1
            ? report.files().get(0).file()
            : report.files().size() + " files";
    TruncationReport.FileCounts total = report.total();
    if (total.read() == 0) {
      throw new UserError(files + ": no rows; the data set is empty");
    }
    if (total.kept() == 0 && purpose == Purpose.TRAIN) {
      throw new UserError(
          files
              + ": none of "
              + total.read()
              + " rows is left to train on: "
              + total.emptyTarget()
              + " have no target, "
              + total.cutTarget()
              + " lost it to truncation"
              + (total.copies() > 0 ? ", " + total.copies() + " are evaluated on" : ""));
    }
    return new LoadedRows(rows.build(), report);
  }
}
