package dev.caravan.data.pack;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import java.util.Arrays;

/**
 * One reusable buffer of T token rows that hold whole documents, each in a slot of consecutive
 * rows. Slot d is rows {@code cuSeqlens[d] .. cuSeqlens[d+1]}; with packing a slot is as long as
 * its document, without it is {@code sequence.length} and padded behind the document. The rows from
 * {@code cuSeqlens[documents]} on are padding that belongs to no slot: attention gives them
 * nothing, and no row attends to them. Padding inside a slot comes last, so causal attention never
 * reads it.
 *
 * <p>The arrays are the buffer itself, so that uploading copies once; callers read them and never
 * write. Their lengths are capacities: the counts say how far they are filled.
 */
public final class MicroBatch {
  private final BufferShape shape;
  private final int[] ids;
  private final int[] positions;
  private final int[] cuSeqlens;
  private final int[] targetRows;
  private final int[] targetIds;
  private final int[] lengths;
  private final int[] rows;
  private final long[] examples;
  private final int[] targetStarts;
  private final int[] labels;
  private int documents;
  private int tokens;
  private int targets;

  /** An empty buffer: all padding, no document, no target. */
  public MicroBatch(BufferShape shape) {
    this.shape = shape;
    ids = new int[shape.tokens()];
    positions = new int[shape.tokens()];
    cuSeqlens = new int[shape.maxDocuments() + 1];
    targetRows = new int[shape.tokens()];
    targetIds = new int[shape.tokens()];
    lengths = new int[shape.maxDocuments()];
    rows = new int[shape.maxDocuments()];
    examples = new long[shape.maxDocuments()];
    targetStarts = new int[shape.maxDocuments() + 1];
    labels = new int[shape.sequenceLength()];
    clear();
  }

  /** The shape that this buffer was made with. */
  public BufferShape shape() {
    return shape;
  }

  /** Token rows of the buffer, padding included: T. */
  public int capacity() {
    return ids.length;
  }

  /** The documents in it. */
  public int documents() {
    return documents;
  }

  /** Token rows that are not padding. */
  public int tokens() {
    return tokens;
  }

  /** Target tokens: the filled part of {@link #targetRows} and {@link #targetIds}. */
  public int targets() {
    return targets;
  }

  /** Token ids [T]; the shape's padId at padding. */
  public int[] ids() {
    return ids;
  }

  /**
   * Positions [T], from 0 in each document; 0 at padding outside a slot, running on at padding
   * inside one.
   */
  public int[] positions() {
    return positions;
  }

  /** Where slots begin [documents + 1], from 0, ascending; the last is the end of the last slot. */
  public int[] cuSeqlens() {
    return cuSeqlens;
  }

  /** Rows whose hidden state predicts a target [targets], ascending. */
  public int[] targetRows() {
    return targetRows;
  }

  /**
   * The token that each of {@link #targetRows} predicts [targets]: the label of the row after it.
   */
  public int[] targetIds() {
    return targetIds;
  }

  /** The tokens of document {@code d}; its slot may be longer, the rest is padding. */
  public int length(int d) {
    return lengths[checked(d)];
  }

  /** The row of the row set that document {@code d} is. */
  public int row(int d) {
    return rows[checked(d)];
  }

  /** The example number k that document {@code d} is. */
  public long example(int d) {
    return examples[checked(d)];
  }

  /**
   * The targets of document {@code d} are entries {@code targetStart(d) .. targetStart(d + 1)}, for
   * d up to documents.
   */
  public int targetStart(int d) {
    if (d < 0 || d > documents) {
      throw new IndexOutOfBoundsException("document " + d + " of " + documents);
    }
    return targetStarts[d];
  }

  /** Whether row {@code r} of the buffer holds no token of any document. */
  public boolean isPadding(int r) {
    if (r >= cuSeqlens[documents]) {
      return true;
    }
    int found = Arrays.binarySearch(cuSeqlens, 0, documents + 1, r);
    int d = found >= 0 ? found : -found - 2;
    return r - cuSeqlens[d] >= lengths[d];
  }

  /** Makes it all padding again. */
  public void clear() {
    documents = 0;
    tokens = 0;
    targets = 0;
    cuSeqlens[0] = 0;
    targetStarts[0] = 0;
    Arrays.fill(ids, shape.padId());
    Arrays.fill(positions, 0);
  }

  /** The rows that no slot has taken yet. */
  int free() {
    return ids.length - cuSeqlens[documents];
  }

  /**
   * Appends row {@code row} of {@code source}, which is example {@code k}. The buffer was cleared
   * before the first; rows behind the last slot stay padding.
   *
   * @throws IllegalArgumentException if the row is empty, longer than the sequence length, or has
   *     no room
   */
  void append(RowSet source, int row, long k) {
    int length = source.length(row);
    if (length < 1 || length > shape.sequenceLength()) {
      throw new IllegalArgumentException(
          source.where(row)
              + ": length must be 1 to "
              + shape.sequenceLength()
              + ", got "
              + length);
    }
    int slot = shape.footprint(length);
    if (slot > free() || documents == shape.maxDocuments()) {
      throw new IllegalArgumentException(
          "no room for " + slot + " rows: " + free() + " rows free, " + documents + " documents");
    }
    int start = cuSeqlens[documents];
    source.copyIds(row, ids, start);
    for (int i = 0; i < slot; i++) {
      positions[start + i] = i;
    }
    source.copyLabels(row, labels, 0);
    for (int i = 0; i + 1 < length; i++) {
      if (labels[i + 1] != Row.NO_TARGET) {
        targetRows[targets] = start + i;
        targetIds[targets] = labels[i + 1];
        targets++;
      }
    }
    lengths[documents] = length;
    rows[documents] = row;
    examples[documents] = k;
    documents++;
    cuSeqlens[documents] = start + slot;
    targetStarts[documents] = targets;
    tokens += length;
  }

  private int checked(int d) {
    if (d < 0 || d >= documents) {
      throw new IndexOutOfBoundsException("document " + d + " of " + documents);
    }
    return d;
  }
}
