package dev.caravan.data.pack;

import java.util.Arrays;
import java.util.BitSet;

/**
 * Best-fit decreasing bin packing: documents from the longest to the shortest, each into the buffer
 * that it leaves the least room in, else into a new one. It needs at most 11/9 of the fewest
 * possible buffers, plus one (Johnson 1973, Near-optimal bin packing algorithms). Ties: of equal
 * lengths the earlier document first, of equally full buffers the one that reached that fill last.
 * So the outcome depends on the lengths alone.
 *
 * <p>Open buffers are kept in lists by their free rows, with a bit set of the fills that occur:
 * placing a document costs one search for the next set bit.
 */
final class Packer {
  private static final int NONE = -1;

  private final int capacity;
  private final int maxDocuments;
  private final int[] headByFree;
  private final BitSet someFree;
  private int[] nextOfBuffer = new int[16];
  private int[] freeOfBuffer = new int[16];
  private int[] documentsOfBuffer = new int[16];
  private int[] bufferOf = new int[64];
  private long[] byLength = new long[64];
  private int buffers;

  /**
   * @param capacity rows of a buffer
   * @param maxDocuments the most documents of a buffer
   */
  Packer(int capacity, int maxDocuments) {
    this.capacity = capacity;
    this.maxDocuments = maxDocuments;
    headByFree = new int[capacity + 1];
    someFree = new BitSet(capacity + 1);
    Arrays.fill(headByFree, NONE);
  }

  /**
   * Places {@code count} documents.
   *
   * @param footprint rows that each document takes, 0 to capacity; those of 0 rows are left out
   * @return the number of buffers
   */
  int pack(int[] footprint, int count) {
    reset(count);
    for (int i = 0; i < count; i++) {
      byLength[i] = (long) (capacity - footprint[i]) << 32 | i;
    }
    Arrays.sort(byLength, 0, count);
    for (int place = 0; place < count; place++) {
      int document = documentAt(place);
      int length = footprint[document];
      if (length > capacity) {
        throw new IllegalArgumentException(
            "document " + document + " takes " + length + " rows, a buffer has " + capacity);
      }
      bufferOf[document] = length == 0 ? NONE : place(length);
    }
    return buffers;
  }

  /** The document in place {@code place} of the order of packing: longest first. */
  int documentAt(int place) {
    return (int) byLength[place];
  }

  /** The buffer of document {@code document}, or -1 if it takes no rows. */
  int bufferOf(int document) {
    return bufferOf[document];
  }

  private int place(int length) {
    int free = someFree.nextSetBit(length);
    int buffer;
    if (free < 0) {
      buffer = open();
      free = capacity;
    } else {
      buffer = headByFree[free];
      headByFree[free] = nextOfBuffer[buffer];
      if (headByFree[free] == NONE) {
        someFree.clear(free);
      }
    }
    freeOfBuffer[buffer] = free - length;
    documentsOfBuffer[buffer]++;
    if (documentsOfBuffer[buffer] < maxDocuments) {
      list(buffer);
    }
    return buffer;
  }

  private int open() {
    if (buffers == nextOfBuffer.length) {
      nextOfBuffer = Arrays.copyOf(nextOfBuffer, 2 * buffers);
      freeOfBuffer = Arrays.copyOf(freeOfBuffer, 2 * buffers);
      documentsOfBuffer = Arrays.copyOf(documentsOfBuffer, 2 * buffers);
    }
    documentsOfBuffer[buffers] = 0;
    return buffers++;
  }

  private void list(int buffer) {
    int free = freeOfBuffer[buffer];
    nextOfBuffer[buffer] = headByFree[free];
    headByFree[free] = buffer;
    someFree.set(free);
  }

  private void reset(int count) {
    for (int free = someFree.nextSetBit(0); free >= 0; free = someFree.nextSetBit(free + 1)) {
      headByFree[free] = NONE;
    }
    someFree.clear();
    buffers = 0;
    if (bufferOf.length < count) {
      int size = Math.max(count, 2 * bufferOf.length);
      bufferOf = new int[size];
      byLength = new long[size];
    }
  }
}
