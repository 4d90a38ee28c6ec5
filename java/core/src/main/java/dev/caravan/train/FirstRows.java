package dev.caravan.train;

import dev.caravan.data.ForwardingRows;
import dev.caravan.data.RowSet;
import java.util.stream.IntStream;

/**
 * The first rows of others, as a set of its own.
 *
 * @param rows whose first ones these are
 * @param most of them
 */
record FirstRows(RowSet rows, int most) implements ForwardingRows {
  @Override
  public int size() {
    return Math.min(most, rows.size());
  }

  @Override
  public int maxLength() {
    return IntStream.range(0, size()).map(rows::length).max().orElse(0);
  }

  @Override
  public int minLength() {
    return IntStream.range(0, size()).map(rows::length).min().orElse(0);
  }

  @Override
  public long totalTokens() {
    return IntStream.range(0, size()).mapToLong(rows::length).sum();
  }

  @Override
  public long totalTargets() {
    return IntStream.range(0, size()).mapToLong(rows::targets).sum();
  }
}
