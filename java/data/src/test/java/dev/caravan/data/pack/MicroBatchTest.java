package dev.caravan.data.pack;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class MicroBatchTest {
  private static final RowStore ROWS =
      RowStore.of(
          List.of(
              new Row(new int[] {11, 12, 13}, new int[] {11, -100, 13}, 0),
              new Row(new int[] {21, 22}, new int[] {-100, 22}, 1),
              new Row(new int[] {31}, new int[] {31}, 2)));

  private static String head(int[] array, int count) {
    return Arrays.toString(Arrays.copyOf(array, count));
  }

  @Test
  void laysDocumentsEndToEnd() {
    MicroBatch batch = new MicroBatch(new BufferShape(8, 4, true, 3, 9));
    batch.append(ROWS, 0, 100);
    batch.append(ROWS, 2, 101);
    batch.append(ROWS, 1, 102);
    assertEquals("[11, 12, 13, 31, 21, 22, 9, 9]", Arrays.toString(batch.ids()));
    assertEquals("[0, 1, 2, 0, 0, 1, 0, 0]", Arrays.toString(batch.positions()));
    assertEquals("[0, 3, 4, 6]", head(batch.cuSeqlens(), 4));
    assertEquals("[1, 4]", head(batch.targetRows(), batch.targets()));
    assertEquals("[13, 22]", head(batch.targetIds(), batch.targets()));
    assertEquals(6, batch.tokens());
    assertEquals(102, batch.example(2));
    assertEquals(1, batch.row(2));
    assertEquals(1, batch.targetStart(2));
    assertEquals(2, batch.targetStart(3));
    assertFalse(batch.isPadding(5));
    assertTrue(batch.isPadding(6));
  }

  @Test
  void givesEachDocumentItsSlotWithoutPacking() {
    MicroBatch batch = new MicroBatch(BufferShape.of(9, 4, false, 1, 9));
    batch.append(ROWS, 1, 0);
    batch.append(ROWS, 0, 1);
    assertEquals("[21, 22, 9, 9, 11, 12, 13, 9, 9]", Arrays.toString(batch.ids()));
    assertEquals("[0, 1, 2, 3, 0, 1, 2, 3, 0]", Arrays.toString(batch.positions()));
    assertEquals("[0, 4, 8]", head(batch.cuSeqlens(), 3));
    assertEquals("[0, 5]", head(batch.targetRows(), batch.targets()));
    assertEquals("[22, 13]", head(batch.targetIds(), batch.targets()));
    assertEquals(5, batch.tokens());
    boolean[] padding = {false, false, true, true, false, false, false, true, true};
    for (int r = 0; r < padding.length; r++) {
      assertEquals(padding[r], batch.isPadding(r), "row " + r);
    }
    assertThrows(IllegalArgumentException.class, () -> batch.append(ROWS, 2, 2));
  }

  @Test
  void isAllPaddingWhenCleared() {
    MicroBatch batch = new MicroBatch(new BufferShape(4, 4, true, 2, 5));
    batch.append(ROWS, 0, 0);
    batch.clear();
    assertEquals("[5, 5, 5, 5]", Arrays.toString(batch.ids()));
    assertEquals("[0, 0, 0, 0]", Arrays.toString(batch.positions()));
    assertEquals(0, batch.documents());
    assertEquals(0, batch.targets());
    assertEquals(0, batch.tokens());
    assertEquals(0, batch.cuSeqlens()[0]);
    assertTrue(batch.isPadding(0));
    assertThrows(IndexOutOfBoundsException.class, () -> batch.row(0));
  }

  @Test
  void refusesWhatHasNoRoom() {
    MicroBatch batch = new MicroBatch(new BufferShape(4, 4, true, 1, 0));
    batch.append(ROWS, 1, 0);
    assertThrows(IllegalArgumentException.class, () -> batch.append(ROWS, 2, 1));
    MicroBatch small = new MicroBatch(new BufferShape(4, 2, true, 2, 0));
    assertThrows(IllegalArgumentException.class, () -> small.append(ROWS, 0, 0));
  }

  @Test
  void refusesAShapeThatCannotBe() {
    assertThrows(IllegalArgumentException.class, () -> new BufferShape(4, 5, true, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> new BufferShape(4, 0, true, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> new BufferShape(4, 4, true, 0, 0));
    assertThrows(IllegalArgumentException.class, () -> new BufferShape(4, 4, true, 1, -1));
  }
}
