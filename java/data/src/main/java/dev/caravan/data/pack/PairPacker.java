package dev.caravan.data.pack;

import java.util.Arrays;

/**
 * Best-fit decreasing packing of documents with two lengths: from the one whose larger share of a
 * buffer is largest to the smallest, each where both sides have room and the least is left, both
 * sides counted as shares of their buffer; else in a new one. Ties: the earlier document first, the
 * earlier buffer first. So the outcome depends on the lengths alone.
 */
final class PairPacker {
  private static final int NONE = -1;

  private final PairShape shape;
  private long[] order = new long[64];
  private int[] bufferOf = new int[64];
  private int[] freeSource = new int[16];
  private int[] freeTarget = new int[16];
  private int[] documents = new int[16];
  private int buffers;

  PairPacker(PairShape shape) {
    this.shape = shape;
  }

  /**
   * Places {@code count} documents.
   *
   * @param source rows that each takes in the encoder's buffer
   * @param target rows that each takes in the decoder's; a document of 0 rows in both is left out
   * @return the number of buffers
   */
  int pack(int[] source, int[] target, int count) {
    if (order.length < count) {
      order = new long[count];
      bufferOf = new int[count];
    }
    buffers = 0;
    for (int i = 0; i < count; i++) {
      order[i] = (Integer.MAX_VALUE - share(source[i], target[i])) << 32 | i;
    }
    Arrays.sort(order, 0, count);
    for (int place = 0; place < count; place++) {
      int document = documentAt(place);
      boolean empty = source[document] == 0 && target[document] == 0;
      bufferOf[document] = empty ? NONE : place(source[document], target[document]);
    }
    return buffers;
  }

  /** The larger of the two shares of a buffer, as a part of 2^30. */
  private long share(int source, int target) {
    long ofSource = ((long) source << 30) / shape.sourceTokens();
    long ofTarget = ((long) target << 30) / shape.targetTokens();
    return Math.max(ofSource, ofTarget);
  }

  /** The document in place {@code place} of the order of packing. */
  int documentAt(int place) {
    return (int) order[place];
  }

  /** The buffer of document {@code document}, or -1 if it takes no rows. */
  int bufferOf(int document) {
    return bufferOf[document];
  }

  private int place(int source, int target) {
    int best = NONE;
    double least = Double.POSITIVE_INFINITY;
    for (int b = 0; b < buffers; b++) {
      if (freeSource[b] >= source
          && freeTarget[b] >= target
          && documents[b] < shape.maxDocuments()) {
        double left =
            (double) (freeSource[b] - source) / shape.sourceTokens()
                + (double) (freeTarget[b] - target) / shape.targetTokens();
        if (left < least) {
          least = left;
          best = b;
        }
      }
    }
    if (best == NONE) {
      best = open();
    }
    freeSource[best] -= source;
    freeTarget[best] -= target;
    documents[best]++;
    return best;
  }

  private int open() {
    if (buffers == freeSource.length) {
      freeSource = Arrays.copyOf(freeSource, 2 * buffers);
      freeTarget = Arrays.copyOf(freeTarget, 2 * buffers);
      documents = Arrays.copyOf(documents, 2 * buffers);
    }
    freeSource[buffers] = shape.sourceTokens();
    freeTarget[buffers] = shape.targetTokens();
    documents[buffers] = 0;
    return buffers++;
  }
}
