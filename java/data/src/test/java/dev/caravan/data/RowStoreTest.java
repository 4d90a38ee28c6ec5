package dev.caravan.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class RowStoreTest {
  @Test
  void givesBackEveryRowAcrossChunks() {
    Random random = new Random(1);
    List<Row> rows = new ArrayList<>();
    int[] lengths = {1, 3, 0, 1 << 18, (1 << 18) + 5, 100_000, 200_000, 2};
    long tokens = 0;
    long targets = 0;
    for (int i = 0; i < lengths.length; i++) {
      int[] ids = random.ints(lengths[i], 0, 50_000).toArray();
      int[] labels = ids.clone();
      for (int j = 0; j < labels.length; j += 2) {
        labels[j] = Row.NO_TARGET;
      }
      rows.add(new Row(ids, labels, i));
      tokens += lengths[i];
      targets += lengths[i] / 2;
    }
    RowStore store = RowStore.of(rows);
    assertEquals(rows.size(), store.size());
    for (int i = 0; i < rows.size(); i++) {
      assertArrayEquals(rows.get(i).inputIds(), store.row(i).inputIds(), "ids of row " + i);
      assertArrayEquals(rows.get(i).labels(), store.row(i).labels(), "labels of row " + i);
      assertEquals(rows.get(i).targets(), store.targets(i));
      assertEquals("memory:" + (i + 1), store.where(i));
    }
    assertEquals(tokens, store.totalTokens());
    assertEquals(targets, store.totalTargets());
    assertEquals((1 << 18) + 5, store.maxLength());
    assertEquals(0, store.minLength());
  }

  @Test
  void growsPastItsFirstCapacity() {
    RowStore.Builder builder = new RowStore.Builder();
    builder.file("a");
    for (int i = 0; i < 1000; i++) {
      if (i == 500) {
        builder.file("b");
      }
      builder.add(new int[] {i, i + 1}, new int[] {-100, i + 1}, i + 1);
    }
    RowStore store = builder.build();
    assertEquals("a:500", store.where(499));
    assertEquals("b:501", store.where(500));
    assertArrayEquals(new int[] {999, 1000}, store.row(999).inputIds());
  }

  @Test
  void neverCountsLabelZero() {
    assertEquals(1, new Row(new int[] {7, 8}, new int[] {7, 8}, 0).targets());
    assertEquals(0, new Row(new int[] {7}, new int[] {7}, 0).targets());
  }

  @Test
  void refusesUnequalArrays() {
    assertThrows(IllegalArgumentException.class, () -> new Row(new int[2], new int[3], 0));
    RowStore.Builder builder = new RowStore.Builder();
    builder.file("a");
    assertThrows(IllegalArgumentException.class, () -> builder.add(new int[2], new int[3], 1));
    assertEquals(0, builder.size());
  }
}
