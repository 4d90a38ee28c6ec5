package dev.caravan.data.task;

import dev.caravan.data.RowStore;
import dev.caravan.data.source.TokensReader;
import java.nio.file.Path;

/** Loads {@code tokens} files: rows that need no tokenizer and are never truncated. */
final class TokensLoader {
  private final RowLimits limits;
  private final Purpose purpose;

  TokensLoader(RowLimits limits, Purpose purpose) {
    this.limits = limits;
    this.purpose = purpose;
  }

  /** Adds the rows of {@code file} to {@code into} and returns what became of them. */
  TruncationReport.FileCounts load(Path file, RowSink into) {
    long read = 0;
    long kept = 0;
    into.file(file.toString());
    try (TokensReader reader = new TokensReader(file, limits.vocabSize())) {
      while (reader.next()) {
        read++;
        if (reader.length() > limits.maxTokens()) {
          throw reader.error(
              reader.length()
                  + " tokens, more than "
                  + limits.setting()
                  + " = "
                  + limits.maxTokens());
        }
        if (purpose == Purpose.SCORE || RowStore.targets(reader.labels(), reader.length()) > 0) {
          into.add(reader.ids(), reader.labels(), reader.length(), reader.line());
          kept++;
        }
      }
    }
    return new TruncationReport.FileCounts(file.toString(), read, kept, 0, 0, read - kept, 0, 0);
  }
}
