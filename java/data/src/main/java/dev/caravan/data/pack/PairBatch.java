package dev.caravan.data.pack;

import dev.caravan.data.PairSet;
import dev.caravan.data.Row;
import java.util.Arrays;

/**
 * One reusable pair of buffers with the same documents in both, in the same order: the sources for
 * the encoder, and for the decoder the labels moved right by one behind the start token. Document d
 * is rows {@code cuSources[d] .. cuSources[d+1]} of one and {@code cuTargets[d] .. cuTargets[d+1]}
 * of the other, which are the borders of self-attention in each and of attention between them. Rows
 * behind the last slot are padding of no document.
 *
 * <p>The arrays are the buffers themselves; callers read them and never write. Counts say how far
 * they are filled.
 */
public final class PairBatch {
  private final PairShape shape;
  private final int[] sourceIds;
  private final int[] sourcePositions;
  private final int[] cuSources;
  private final int[] targetInputs;
  private final int[] targetPositions;
  private final int[] cuTargets;
  private final int[] targetRows;
  private final int[] targetIds;
  private final int[] targetStarts;
  private final int[] rows;
  private final long[] examples;
  private final int[] labels;
  private int documents;
  private int sources;
  private int inputs;
  private int targets;

  /** Empty buffers: all padding, no document, no target. */
  public PairBatch(PairShape shape) {
    this.shape = shape;
    sourceIds = new int[shape.sourceTokens()];
    sourcePositions = new int[shape.sourceTokens()];
    cuSources = new int[shape.maxDocuments() + 1];
    targetInputs = new int[shape.targetTokens()];
    targetPositions = new int[shape.targetTokens()];
    cuTargets = new int[shape.maxDocuments() + 1];
    targetRows = new int[shape.targetTokens()];
    targetIds = new int[shape.targetTokens()];
    targetStarts = new int[shape.maxDocuments() + 1];
    rows = new int[shape.maxDocuments()];
    examples = new long[shape.maxDocuments()];
    labels = new int[shape.targetLength()];
    clear();
  }

  /** The shape that these buffers were made with. */
  public PairShape shape() {
    return shape;
  }

  /** The documents in them. */
  public int documents() {
    return documents;
  }

  /** Encoder rows that are not padding. */
  public int sources() {
    return sources;
  }

  /** Decoder rows that are not padding. */
  public int inputs() {
    return inputs;
  }

  /** Targets: the filled part of {@link #targetRows} and {@link #targetIds}. */
  public int targets() {
    return targets;
  }

  /** Token ids of the encoder [sourceTokens]; padId at padding. */
  public int[] sourceIds() {
    return sourceIds;
  }

  /** Positions of the encoder, from 0 in each document. */
  public int[] sourcePositions() {
    return sourcePositions;
  }

  /** Where the encoder's slots begin [documents + 1]. */
  public int[] cuSources() {
    return cuSources;
  }

  /** Token ids of the decoder [targetTokens]: the start token, then the labels before. */
  public int[] targetInputs() {
    return targetInputs;
  }

  /** Positions of the decoder, from 0 in each document. */
  public int[] targetPositions() {
    return targetPositions;
  }

  /** Where the decoder's slots begin [documents + 1]. */
  public int[] cuTargets() {
    return cuTargets;
  }

  /** Decoder rows that predict a target [targets], ascending. */
  public int[] targetRows() {
    return targetRows;
  }

  /** The token that each of {@link #targetRows} predicts [targets]. */
  public int[] targetIds() {
    return targetIds;
  }

  /** The targets of document {@code d} are entries {@code targetStart(d) .. targetStart(d + 1)}. */
  public int targetStart(int d) {
    if (d < 0 || d > documents) {
      throw new IndexOutOfBoundsException("document " + d + " of " + documents);
    }
    return targetStarts[d];
  }

  /** The pair of the set that document {@code d} is. */
  public int row(int d) {
    return rows[checked(d)];
  }

  /** The example number k that document {@code d} is. */
  public long example(int d) {
    return examples[checked(d)];
  }

  /** Makes it all padding again. */
  public void clear() {
    documents = 0;
    sources = 0;
    inputs = 0;
    targets = 0;
    cuSources[0] = 0;
    cuTargets[0] = 0;
    targetStarts[0] = 0;
    Arrays.fill(sourceIds, shape.padId());
    Arrays.fill(sourcePositions, 0);
    Arrays.fill(targetInputs, shape.padId());
    Arrays.fill(targetPositions, 0);
  }

  /**
   * Appends pair {@code row} of {@code set}, which is example {@code k}.
   *
   * @throws IllegalArgumentException if a side is empty or longer than allowed, or has no room
   */
  void append(PairSet set, int row, long k) {
    int source = set.sourceLength(row);
    int target = set.targetLength(row);
    if (source < 1
        || target < 1
        || source > shape.sourceLength()
        || target > shape.targetLength()) {
      throw new IllegalArgumentException(
          "%s: lengths must be 1 to %d and 1 to %d, got %d and %d"
              .formatted(
                  set.where(row), shape.sourceLength(), shape.targetLength(), source, target));
    }
    int sourceSlot = shape.sourceFootprint(source);
    int targetSlot = shape.targetFootprint(target);
    int from = cuSources[documents];
    int to = cuTargets[documents];
    if (documents == shape.maxDocuments()
        || from + sourceSlot > sourceIds.length
        || to + targetSlot > targetInputs.length) {
      throw new IllegalArgumentException(
          "no room for "
              + sourceSlot
              + " and "
              + targetSlot
              + " rows in "
              + documents
              + " documents");
    }
    set.copySource(row, sourceIds, from);
    for (int i = 0; i < sourceSlot; i++) {
      sourcePositions[from + i] = i;
    }
    set.copyLabels(row, labels, 0);
    for (int i = 0; i < targetSlot; i++) {
      targetPositions[to + i] = i;
    }
    for (int i = 0; i < target; i++) {
      boolean counts = labels[i] != Row.NO_TARGET;
      int before = i == 0 ? shape.startId() : labels[i - 1];
      targetInputs[to + i] = before == Row.NO_TARGET ? shape.padId() : before;
      if (counts) {
        targetRows[targets] = to + i;
        targetIds[targets++] = labels[i];
      }
    }
    rows[documents] = row;
    examples[documents] = k;
    documents++;
    cuSources[documents] = from + sourceSlot;
    cuTargets[documents] = to + targetSlot;
    targetStarts[documents] = targets;
    sources += source;
    inputs += target;
  }

  private int checked(int d) {
    if (d < 0 || d >= documents) {
      throw new IndexOutOfBoundsException("document " + d + " of " + documents);
    }
    return d;
  }
}
