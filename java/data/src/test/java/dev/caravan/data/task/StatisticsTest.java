package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.PackStatistics;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class StatisticsTest {
  private static final RowStore ROWS =
      RowStore.of(
          List.of(
              new Row(new int[] {1, 2, 3}, new int[] {-100, 2, 3}, 0),
              new Row(new int[] {1, 2, 3}, new int[] {-100, -100, 3}, 1),
              new Row(new int[] {1, 2, 3}, new int[] {-100, 2, 3}, 2),
              new Row(new int[] {1, 2}, new int[] {1, -100}, 3),
              new Row(new int[] {1, 2, 3, 4}, new int[] {2, 3, 4, -100}, 4)));

  @Test
  void describesRows() {
    RowStatistics s = RowStatistics.of(ROWS);
    assertEquals(5, s.rows());
    assertEquals(15, s.tokens());
    assertEquals(7, s.targets());
    assertEquals(7.0 / 15, s.targetShare());
    assertEquals(1, s.rowsWithoutTarget());
    assertEquals(1, s.duplicates());
    assertEquals(3, s.otherLabels());
    assertEquals(new Distribution(2, 3, 4, 4, 4, 3), s.lengths());
    assertEquals(0, RowStatistics.of(RowStore.of(List.of())).targetShare());
  }

  @Test
  void spreadsByNearestRank() {
    assertEquals(
        new Distribution(1, 50, 90, 99, 100, 50.5),
        Distribution.of(IntStream.rangeClosed(1, 100).map(i -> 101 - i)));
    assertEquals(new Distribution(0, 0, 0, 0, 0, 0), Distribution.of(IntStream.empty()));
  }

  @Test
  void describesPacking() {
    StepSource source =
        new StepSource(
            ROWS,
            ExampleOrder.sequential(5),
            StepSize.examples(5),
            BufferShape.of(8, 4, true, 2, 0));
    PackStatistics s = PackStatistics.of(source, 2);
    assertEquals(new PackStatistics(2, 4, 10, 30, 14, 2, 7), s);
    assertEquals(2.0 / 32, s.paddingShare());
    assertEquals(14.0 / 30, s.targetShare());
    assertThrows(IllegalArgumentException.class, () -> PackStatistics.of(source, 0));
  }
}
