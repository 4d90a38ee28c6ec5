package dev.caravan.data.mix;

import dev.caravan.data.cache.CacheFile;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.cache.CacheKey;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.template.Template;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** The examples of a task, on the heap or, where there is a cache, in a file outside it. */
final class TaskExamples {
  private static final String KIND = "examples";

  private TaskExamples() {}

  /**
   * Reads a task.
   *
   * @param templates that every example must fit
   * @param without examples that are left out
   * @throws dev.caravan.data.UserError as {@link TaskReader#read} does
   */
  static ExampleSet read(
      TaskSpec task,
      MixtureSpec.BadRows badRows,
      List<Template> templates,
      Predicate<Example> without,
      CacheFolder cache) {
    List<Path> files = DataFiles.resolve(task.paths());
    if (cache != CacheFolder.none()) {
      Optional<CacheFile> stored =
          cache.findOrMake(
              KIND,
              key(task, badRows, templates, cache),
              StoredExamples.ENTRY_BYTES,
              out -> {
                StoredExamples.Sink sink = new StoredExamples.Sink(out, files);
                TaskReader reader = new TaskReader(task, badRows);
                But but = new But(without, sink::add);
                reader.read(templates, but);
                sink.end(reader.skipped(), but.copies);
              });
      if (stored.isPresent()) {
        return new StoredExamples(stored.get(), files);
      }
    }
    MemoryExamples examples = new MemoryExamples();
    TaskReader reader = new TaskReader(task, badRows);
    But but =
        new But(without, (example, file, line) -> examples.add(example, file + ":" + line));
    reader.read(templates, but);
    return examples.without(reader.skipped(), but.copies);
  }

  /** Takes what is not to be left out, and counts the rest. */
  private static final class But implements TaskReader.Sink {
    private final Predicate<Example> without;
    private final TaskReader.Sink into;
    private long copies;

    But(Predicate<Example> without, TaskReader.Sink into) {
      this.without = without;
      this.into = into;
    }

    @Override
    public void add(Example example, Path file, long line) {
      if (without.test(example)) {
        copies++;
      } else {
        into.add(example, file, line);
      }
    }
  }

  /** Of the data, and of the words, since rows that do not fit them are left out. */
  private static byte[] key(
      TaskSpec task,
      MixtureSpec.BadRows badRows,
      List<Template> templates,
      CacheFolder cache) {
    CacheKey key = new CacheKey(KIND).put(Identity.ofData(task, cache)).put(badRows.toString());
    key.put("with copies counted and alternatives").put(task.words());
    templates.forEach(template -> key.put(template.words()));
    return key.bytes();
  }
}
