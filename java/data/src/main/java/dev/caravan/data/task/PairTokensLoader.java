package dev.caravan.data.task;

import dev.caravan.data.PairStore;
import dev.caravan.data.UserError;
import dev.caravan.data.source.TokensReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Loads {@code tokens} files for an encoder-decoder: input_ids feed the encoder, every label other
 * than -100 is a target, and the two may differ in length. Rows are never cut: one that is too long
 * is an error. Rows without a target are left out and counted.
 */
public final class PairTokensLoader {
  /**
   * Pairs and what became of each file's rows.
   *
   * @param pairs those that are kept
   * @param report counts of each file
   * @param sources tokens of a source
   * @param targets labels of a pair
   */
  public record Loaded(
      PairStore pairs, TruncationReport report, Distribution sources, Distribution targets) {}

  private PairTokensLoader() {}

  /**
   * Loads files.
   *
   * @param sourceLength most input_ids of a row, {@code sequence.length}
   * @param targetLength most labels of a row, {@code sequence.target_length}
   * @param vocabSize token ids are below it
   * @throws UserError if a row is malformed, empty on a side or too long, or none is left
   */
  public static Loaded load(List<Path> files, int sourceLength, int targetLength, int vocabSize) {
    PairStore.Builder pairs = new PairStore.Builder();
    List<TruncationReport.FileCounts> counts = new ArrayList<>();
    for (Path file : files) {
      long read = 0;
      long kept = 0;
      pairs.file(file.toString());
      try (TokensReader reader = TokensReader.pairs(file, vocabSize)) {
        while (reader.next()) {
          read++;
          check(reader, "input_ids", reader.length(), sourceLength, "sequence.length");
          check(reader, "labels", reader.labelled(), targetLength, "sequence.target_length");
          if (PairStore.Builder.count(reader.labels(), reader.labelled()) > 0) {
            pairs.add(
                reader.ids(), reader.length(), reader.labels(), reader.labelled(), reader.line());
            kept++;
          }
        }
      }
      counts.add(
          new TruncationReport.FileCounts(file.toString(), read, kept, 0, 0, read - kept, 0, 0));
    }
    PairStore store = pairs.build();
    if (store.size() == 0) {
      throw new UserError(files + ": no row with a target is left to train on");
    }
    return new Loaded(
        store,
        new TruncationReport(counts),
        Distribution.of(java.util.stream.IntStream.range(0, store.size()).map(store::sourceLength)),
        Distribution.of(
            java.util.stream.IntStream.range(0, store.size()).map(store::targetLength)));
  }

  private static void check(
      TokensReader reader, String side, int length, int most, String setting) {
    if (length < 1) {
      throw reader.error(side + " is empty, needs at least one token");
    }
    if (length > most) {
      throw reader.error(side + " has " + length + " tokens, more than " + setting + " = " + most);
    }
  }
}
