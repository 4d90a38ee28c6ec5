package dev.caravan.data.task;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What rows are like before they are packed.
 *
 * @param rows how many there are
 * @param tokens their tokens
 * @param targets their target tokens
 * @param lengths tokens of a row
 * @param targetLengths target tokens of a row
 * @param rowsWithoutTarget rows that teach nothing
 * @param duplicates rows whose tokens and labels are those of an earlier row
 * @param otherLabels target labels that are not the token at their position: a sign of labels that
 *     were shifted already
 */
public record RowStatistics(
    int rows,
    long tokens,
    long targets,
    Distribution lengths,
    Distribution targetLengths,
    int rowsWithoutTarget,
    int duplicates,
    long otherLabels) {
  /** The share of tokens that are targets, 0 to 1; 0 without tokens. */
  public double targetShare() {
    return tokens == 0 ? 0 : (double) targets / tokens;
  }

  /** Looks at every row. */
  public static RowStatistics of(RowSet rows) {
    int withoutTarget = 0;
    int duplicates = 0;
    long otherLabels = 0;
    Set<Content> seen = new HashSet<>();
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.row(i);
      withoutTarget += rows.targets(i) == 0 ? 1 : 0;
      duplicates += seen.add(new Content(row.inputIds(), row.labels())) ? 0 : 1;
      for (int at = 0; at < row.length(); at++) {
        int label = row.labels()[at];
        otherLabels += label != Row.NO_TARGET && label != row.inputIds()[at] ? 1 : 0;
      }
    }
    return new RowStatistics(
        rows.size(),
        rows.totalTokens(),
        rows.totalTargets(),
        Distribution.of(IntStream.range(0, rows.size()).map(rows::length)),
        Distribution.of(IntStream.range(0, rows.size()).map(rows::targets)),
        withoutTarget,
        duplicates,
        otherLabels);
  }

  /** A row's content, equal when ids and labels are. */
  private record Content(int[] ids, int[] labels) {
    @Override
    public boolean equals(Object other) {
      return other instanceof Content that
          && Arrays.equals(ids, that.ids)
          && Arrays.equals(labels, that.labels);
    }

    @Override
    public int hashCode() {
      return 31 * Arrays.hashCode(ids) + Arrays.hashCode(labels);
    }
  }
}
