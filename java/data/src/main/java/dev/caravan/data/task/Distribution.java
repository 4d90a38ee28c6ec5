package dev.caravan.data.task;

import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * How some counts are spread.
 *
 * @param min the smallest; 0 if there are none
 * @param median half are at most this
 * @param p90 nine in ten are at most this
 * @param p99 99 in 100 are at most this
 * @param max the largest; 0 if there are none
 * @param mean the average; 0 if there are none
 */
public record Distribution(int min, int median, int p90, int p99, int max, double mean) {
  /** The spread of {@code values}. */
  public static Distribution of(IntStream values) {
    int[] sorted = values.sorted().toArray();
    if (sorted.length == 0) {
      return new Distribution(0, 0, 0, 0, 0, 0);
    }
    return new Distribution(
        sorted[0],
        atShare(sorted, 0.5),
        atShare(sorted, 0.9),
        atShare(sorted, 0.99),
        sorted[sorted.length - 1],
        Arrays.stream(sorted).average().orElse(0));
  }

  /** The smallest value that a share of the values does not exceed (nearest rank). */
  private static int atShare(int[] sorted, double share) {
    return sorted[(int) Math.ceil(share * sorted.length) - 1];
  }
}
