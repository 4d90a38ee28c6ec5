package dev.caravan.data.source;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.Closeable;
import java.nio.file.Path;
import java.util.List;

/** Reads the records of a jsonl, json, csv or tsv file as they are, for readers of benchmarks. */
public final class RecordReader implements Closeable {
  private final Records records;

  private RecordReader(Records records) {
    this.records = records;
  }

  /**
   * Opens {@code file} by its ending; csv and tsv begin with a line of names.
   *
   * @throws UserError if it does not exist or has another ending
   */
  public static RecordReader open(Path file) {
    return new RecordReader(Records.open(file));
  }

  /** Opens tab-separated values without a header; a literal {@code \n} means a line feed. */
  public static RecordReader tsv(Path file, List<String> names) {
    return new RecordReader(new TsvRecords(file, names));
  }

  /** Opens comma-separated values without a header. */
  public static RecordReader csv(Path file, List<String> names) {
    return new RecordReader(new CsvRecords(file, names));
  }

  /**
   * The next record, or null behind the last one.
   *
   * @throws UserError naming file and line
   */
  public ObjectNode next() {
    return records.next();
  }

  /** The line at which the current record begins, from 1. */
  public long line() {
    return records.line();
  }

  /** An error about the current record. */
  public UserError error(String what) {
    return records.error(what);
  }

  @Override
  public void close() {
    records.close();
  }
}
