package dev.caravan.data.pack;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;

class PackerTest {
  private static final int CAPACITY = 64;

  private static int[] buffers(Packer packer, int... lengths) {
    packer.pack(lengths, lengths.length);
    int[] buffers = new int[lengths.length];
    for (int i = 0; i < lengths.length; i++) {
      buffers[i] = packer.bufferOf(i);
    }
    return buffers;
  }

  @Test
  void takesTheBufferWithTheLeastRoom() {
    Packer packer = new Packer(10, 10);
    assertEquals("[0, 1, 2, 1, 0]", Arrays.toString(buffers(packer, 8, 7, 6, 3, 2)));
    assertEquals("[-1, 0, 0, -1]", Arrays.toString(buffers(packer, 0, 4, 6, 0)));
    assertEquals("[]", Arrays.toString(buffers(packer)));
  }

  @Test
  void holdsNoMoreDocumentsThanPlanned() {
    assertEquals("[0, 0, 1, 1, 2]", Arrays.toString(buffers(new Packer(10, 2), 1, 1, 1, 1, 1)));
  }

  @Test
  void refusesWhatFitsNoBuffer() {
    assertThrows(IllegalArgumentException.class, () -> new Packer(10, 2).pack(new int[] {11}, 1));
  }

  @Property(tries = 300, seed = "17")
  void fillsNoBufferBeyondItsCapacityAndWastesLittle(
      @ForAll @Size(max = 200) List<@IntRange(min = 0, max = CAPACITY) Integer> lengths,
      @ForAll @IntRange(min = 1, max = CAPACITY) int maxDocuments) {
    int[] array = lengths.stream().mapToInt(Integer::intValue).toArray();
    Packer packer = new Packer(CAPACITY, maxDocuments);
    int[] used = new int[array.length + 1];
    int[] documents = new int[array.length + 1];
    int count = packer.pack(array, array.length);
    int total = 0;
    for (int i = 0; i < array.length; i++) {
      int buffer = packer.bufferOf(i);
      assertEquals(array[i] == 0, buffer < 0);
      if (buffer >= 0) {
        assertTrue(buffer < count);
        used[buffer] += array[i];
        documents[buffer]++;
        total += array[i];
      }
    }
    for (int b = 0; b < count; b++) {
      assertTrue(used[b] > 0 && used[b] <= CAPACITY);
      assertTrue(documents[b] <= maxDocuments);
    }
    if (maxDocuments == CAPACITY) {
      int lowerBound = (total + CAPACITY - 1) / CAPACITY;
      assertTrue(count <= 2 * lowerBound, count + " buffers for " + total + " rows");
    }
    int[] first = Arrays.stream(array).map(i -> 0).toArray();
    for (int i = 0; i < array.length; i++) {
      first[i] = packer.bufferOf(i);
    }
    assertEquals(Arrays.toString(first), Arrays.toString(buffers(packer, array)), "the same again");
  }
}
