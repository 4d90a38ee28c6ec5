package dev.caravan.data.task;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFile;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.cache.CacheKey;
import dev.caravan.data.cache.CacheWriter;
import dev.caravan.data.cache.TokenRows;
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
import java.util.TreeMap;
import java.util.function.Predicate;

/** Loads files into tokenized rows, in memory or in a cache. */
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
    return load(task, tokenizer, limits, purpose, example -> false, CacheFolder.none());
  }

  /**
   * As above, without some examples, and with rows to train on kept in a cache, and found there by
   * content, words and tokenizer the next time. Cached rows lie outside the heap.
   *
   * @param without examples in words that are left out and counted; where it leaves out any, {@code
   *     cache} must be {@linkplain CacheFolder#apart apart} from other choices of them
   */
  public static LoadedRows load(
      Task task,
      Tokenizer tokenizer,
      RowLimits limits,
      Purpose purpose,
      Predicate<Example> without,
      CacheFolder cache) {
    List<Path> files = DataFiles.resolve(task.paths());
    Loading loading = new Loading(task, files, tokenizer, limits, purpose, without);
    boolean cached =
        purpose == Purpose.TRAIN
            && (tokenizer == null || tokenizer.identity().isPresent())
            && cache.isWorthwhile(bytes(files));
    if (cached) {
      Optional<CacheFile> file =
          cache.findOrMake("rows", loading.key(cache), TokenRows.ENTRY_BYTES, loading::intoCache);
      if (file.isPresent()) {
        StoredRows rows = new StoredRows(new TokenRows(file.get()), files);
        return finish(rows, new TruncationReport(rows.counts()), purpose);
      }
    }
    HeapRows rows = new HeapRows();
    List<TruncationReport.FileCounts> counts = loading.into(rows);
    return finish(rows.build(), new TruncationReport(counts), purpose);
  }

  /** One task's files on their way to rows. */
  private record Loading(
      Task task,
      List<Path> files,
      Tokenizer tokenizer,
      RowLimits limits,
      Purpose purpose,
      Predicate<Example> without) {

    List<TruncationReport.FileCounts> into(RowSink rows) {
      List<TruncationReport.FileCounts> counts = new ArrayList<>();
      TokensLoader tokens = new TokensLoader(limits, purpose);
      ExampleLoader words = new ExampleLoader(tokenizer, limits, purpose, without);
      for (Path file : files) {
        Format format = format(file);
        counts.add(
            format == Format.TOKENS
                ? tokens.load(file, rows)
                : words.load(file, format, task.fields(), template(file, format), rows));
      }
      return counts;
    }

    void intoCache(CacheWriter out) {
      StoredRows.Sink sink = new StoredRows.Sink(out);
      sink.end(into(sink));
    }

    /** Everything that rows and counts depend on. */
    byte[] key(CacheFolder cache) {
      CacheKey key = new CacheKey("rows");
      key.put(limits.maxTokens()).put(limits.setting()).put(limits.vocabSize());
      key.put(tokenizer == null ? "" : tokenizer.identity().orElseThrow());
      key.put(new TreeMap<>(task.fields()).toString());
      for (Path file : files) {
        Format format = format(file);
        String words = format == Format.TOKENS ? "" : template(file, format).words();
        key.put(format.id()).put(words).put(cache.content(file));
      }
      return key.bytes();
    }

    private Format format(Path file) {
      return ExampleReader.formatOf(file, task.format(), task.fields());
    }

    private Template template(Path file, Format format) {
      if (tokenizer == null) {
        throw new UserError(
            file
                + ": format "
                + format.id()
                + " needs a tokenizer; set the tokenizer key to its file or folder");
      }
      return task.template()
          .map(Templates::of)
          .orElseGet(() -> Templates.forFormat(format, tokenizer));
    }
  }

  private static long bytes(List<Path> files) {
    long bytes = 0;
    for (Path file : files) {
      bytes += DataFiles.bytes(file);
    }
    return bytes;
  }

  private static LoadedRows finish(RowSet rows, TruncationReport report, Purpose purpose) {
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
    return new LoadedRows(rows, report);
  }
}
