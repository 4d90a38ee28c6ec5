package dev.caravan.data.task;

import dev.caravan.data.RowStore;
import dev.caravan.data.UserError;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.TemplateMismatch;
import dev.caravan.data.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/**
 * Loads files of words: reads examples in order, encodes a batch of them on all cores, and adds the
 * rows in the files' order, so that the outcome does not depend on the number of cores.
 */
final class ExampleLoader {
  private static final int BATCH = 1024;

  private final Tokenizer tokenizer;
  private final RowEncoder encoder;
  private final RowLimits limits;
  private final Purpose purpose;
  private final Predicate<Example> without;

  ExampleLoader(
      Tokenizer tokenizer, RowLimits limits, Purpose purpose, Predicate<Example> without) {
    this.tokenizer = tokenizer;
    this.limits = limits;
    this.purpose = purpose;
    this.without = without;
    encoder = new RowEncoder(tokenizer);
  }

  /** An example with its line, and the row or the error that it became. */
  private static final class Slot {
    final Example example;
    final long line;
    EncodedRow row;
    boolean isLeftOut;
    String error;

    Slot(Example example, long line) {
      this.example = example;
      this.line = line;
    }
  }

  /** Adds the rows of {@code file} to {@code into} and returns what became of them. */
  TruncationReport.FileCounts load(
      Path file,
      Format format,
      Map<String, String> fields,
      Template template,
      RowSink into) {
    encoder.check(template);
    into.file(file.toString());
    Counter counts = new Counter(file.toString());
    try (ExampleReader reader = ExampleReader.open(file, format, fields)) {
      List<Slot> batch = new ArrayList<>(BATCH);
      for (Example example = reader.next(); example != null; example = reader.next()) {
        batch.add(new Slot(example, reader.line()));
        if (batch.size() == BATCH) {
          add(file, batch, template, into, counts);
        }
      }
      add(file, batch, template, into, counts);
    }
    return counts.counts();
  }

  private void add(
      Path file, List<Slot> batch, Template template, RowSink into, Counter counts) {
    IntStream.range(0, batch.size()).parallel().forEach(i -> encode(batch.get(i), template));
    for (Slot slot : batch) {
      if (slot.error != null) {
        throw UserError.at(file, slot.line, slot.error);
      }
      counts.read++;
      if (slot.isLeftOut) {
        counts.copies++;
        continue;
      }
      add(file, slot, into, counts);
    }
    batch.clear();
  }

  private void encode(Slot slot, Template template) {
    slot.isLeftOut = without.test(slot.example);
    if (slot.isLeftOut) {
      return;
    }
    try {
      slot.row = encoder.encode(slot.example, template);
    } catch (TemplateMismatch | UserError e) {
      slot.error = e.getMessage();
    }
  }

  private void add(Path file, Slot slot, RowSink into, Counter counts) {
    EncodedRow row = slot.row;
    checkVocabulary(file, slot);
    if (purpose == Purpose.SCORE) {
      if (row.length() > limits.maxTokens()) {
        throw UserError.at(
            file,
            slot.line,
            row.length() + " tokens, more than " + limits.setting() + " = " + limits.maxTokens());
      }
      into.add(row.ids(), row.labels(), row.length(), slot.line);
      counts.kept++;
      return;
    }
    if (RowStore.targets(row.labels(), row.length()) == 0 || isBlank(slot.example)) {
      counts.emptyTarget++;
      return;
    }
    if (slot.example instanceof Example.Text) {
      addPieces(row, slot.line, into);
      counts.kept++;
      return;
    }
    row.truncate(limits.maxTokens(), encoder.beginsWithBos(row));
    if (RowStore.targets(row.labels(), row.length()) == 0) {
      counts.cutTarget++;
      return;
    }
    into.add(row.ids(), row.labels(), row.length(), slot.line);
    counts.kept++;
    if (row.tokensCut() > 0) {
      counts.truncated++;
      counts.tokensCut += row.tokensCut();
    }
  }

  /**
   * Text longer than a row becomes several rows. Each begins with the last token of the one before,
   * which is no target there, so every token is learnt once.
   */
  private void addPieces(EncodedRow row, long line, RowSink into) {
    int limit = limits.maxTokens();
    if (row.length() <= limit || limit < 2) {
      into.add(row.ids(), row.labels(), Math.min(row.length(), limit), line);
      return;
    }
    for (int from = 0; from + 1 < row.length(); from += limit - 1) {
      int to = Math.min(row.length(), from + limit);
      into.add(
          Arrays.copyOfRange(row.ids(), from, to),
          Arrays.copyOfRange(row.labels(), from, to),
          to - from,
          line);
    }
  }

  private static boolean isBlank(Example example) {
    if (example instanceof Example.Fields fields) {
      return fields.target().isBlank();
    }
    return example instanceof Example.Text text && text.text().isBlank();
  }

  private void checkVocabulary(Path file, Slot slot) {
    if (tokenizer.vocabSize() <= limits.vocabSize()) {
      return;
    }
    for (int i = 0; i < slot.row.length(); i++) {
      int id = slot.row.ids()[i];
      if (id >= limits.vocabSize()) {
        throw UserError.at(
            file,
            slot.line,
            "token id "
                + id
                + " ('"
                + tokenizer.decode(new int[] {id})
                + "') is outside the model's"
                + " vocabulary of "
                + limits.vocabSize()
                + "; the tokenizer has "
                + tokenizer.vocabSize());
      }
    }
  }

  /** Counts of one file while it is read. */
  private static final class Counter {
    final String file;
    long read;
    long kept;
    long truncated;
    long tokensCut;
    long emptyTarget;
    long cutTarget;
    long copies;

    Counter(String file) {
      this.file = file;
    }

    TruncationReport.FileCounts counts() {
      return new TruncationReport.FileCounts(
          file, read, kept, truncated, tokensCut, emptyTarget, cutTarget, copies);
    }
  }
}
