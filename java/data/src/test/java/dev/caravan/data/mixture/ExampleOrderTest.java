package dev.caravan.data.mixture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class ExampleOrderTest {
  @Property(tries = 200, seed = "17")
  void everyEpochHasEveryRowOnce(
      @ForAll @IntRange(min = 1, max = 3000) int rows,
      @ForAll long seed,
      @ForAll @LongRange(min = 0, max = 1L << 40) long epoch) {
    ExampleOrder order = ExampleOrder.shuffled(rows, seed);
    boolean[] seen = new boolean[rows];
    for (int i = 0; i < rows; i++) {
      int row = order.rowAt(epoch * rows + i);
      assertFalse(seen[row], "row " + row + " twice");
      seen[row] = true;
    }
    assertEquals(rows, order.epochSize());
  }

  @Property(tries = 50, seed = "17")
  void isAFunctionOfSeedAndKAlone(
      @ForAll @IntRange(min = 1, max = 1_000_000) int rows,
      @ForAll long seed,
      @ForAll @LongRange(min = 0, max = Long.MAX_VALUE) long k) {
    ExampleOrder one = ExampleOrder.shuffled(rows, seed);
    one.rowAt(0);
    assertEquals(ExampleOrder.shuffled(rows, seed).rowAt(k), one.rowAt(k));
  }

  @Test
  void sequentialCyclesThroughTheFile() {
    ExampleOrder order = ExampleOrder.sequential(3);
    int[] rows = IntStream.range(0, 7).map(order::rowAt).toArray();
    assertEquals("[0, 1, 2, 0, 1, 2, 0]", Arrays.toString(rows));
    assertThrows(IndexOutOfBoundsException.class, () -> order.rowAt(-1));
    assertThrows(IllegalArgumentException.class, () -> ExampleOrder.sequential(0));
  }

  @Test
  void seedsAndEpochsGiveOtherOrders() {
    int[] first = epoch(ExampleOrder.shuffled(100, 17), 0);
    assertNotEquals(
        Arrays.toString(first), Arrays.toString(epoch(ExampleOrder.shuffled(100, 17), 1)));
    assertNotEquals(
        Arrays.toString(first), Arrays.toString(epoch(ExampleOrder.shuffled(100, 18), 0)));
    int fixed = 0;
    for (int i = 0; i < 100; i++) {
      fixed += first[i] == i ? 1 : 0;
    }
    assertTrue(fixed < 10, fixed + " rows stayed where they were");
  }

  /**
   * Each of 5 rows comes up in each of 5 places equally often over 4,000 seeds: chi-square with 16
   * degrees of freedom.
   */
  @Test
  void everyPlaceIsEquallyLikely() {
    int rows = 5;
    int seeds = 4000;
    int[][] counts = new int[rows][rows];
    for (int seed = 0; seed < seeds; seed++) {
      int[] epoch = epoch(ExampleOrder.shuffled(rows, seed), 0);
      for (int place = 0; place < rows; place++) {
        counts[place][epoch[place]]++;
      }
    }
    double expected = (double) seeds / rows;
    double chiSquare = 0;
    for (int[] place : counts) {
      for (int count : place) {
        chiSquare += (count - expected) * (count - expected) / expected;
      }
    }
    assertTrue(
        chiSquare < 39.25, "chi-square " + chiSquare + ", 0.1 % of fair orders exceed 39.25");
  }

  private static int[] epoch(ExampleOrder order, int epoch) {
    int size = (int) order.epochSize();
    return IntStream.range(0, size).map(i -> order.rowAt((long) epoch * size + i)).toArray();
  }
}
