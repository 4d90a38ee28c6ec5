package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.RowStore;
import java.util.List;
import org.junit.jupiter.api.Test;

class EveryTokenTest {
  @Test
  void everyTokenButTheFirstIsATarget() {
    RowSet rows =
        RowStore.of(
            List.of(
                new Row(new int[] {5, 6, 7}, new int[] {-100, -100, 7}, 0),
                new Row(new int[] {8}, new int[] {-100}, 1)));
    EveryToken all = new EveryToken(rows);
    assertEquals(2, all.size());
    assertEquals(2, all.targets(0));
    assertEquals(0, all.targets(1));
    assertEquals(2, all.totalTargets());
    assertEquals(rows.totalTokens(), all.totalTokens());
    assertEquals(3, all.maxLength());
    assertEquals(1, all.minLength());
    int[] labels = {9, 9, 9, 9, 9};
    all.copyLabels(0, labels, 1);
    assertArrayEquals(new int[] {9, 5, 6, 7, 9}, labels);
    assertArrayEquals(new int[] {5, 6, 7}, all.row(0).inputIds());
    assertEquals(rows.where(1), all.where(1));
  }
}
