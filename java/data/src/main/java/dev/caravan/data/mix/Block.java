package dev.caravan.data.mix;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;

/** The tokens of consecutive examples. */
final class Block {
  /** What became of an example. */
  enum Fate {
    KEPT,
    /** It lost tokens. */
    TRUNCATED,
    /** It has no target. */
    EMPTY_TARGET,
    /** Truncation took its whole target. */
    CUT_TARGET
  }

  final int[] start;
  final int[] ids;
  final int[] labels;
  final int[] targetCounts;
  final byte[] fates;
  final int[] cut;

  Block(int[] start, int[] ids, int[] labels, byte[] fates, int[] cut) {
    this.start = start;
    this.ids = ids;
    this.labels = labels;
    this.fates = fates;
    this.cut = cut;
    targetCounts = new int[fates.length];
    for (int i = 0; i < fates.length; i++) {
      for (int at = start[i] + 1; at < start[i + 1]; at++) {
        targetCounts[i] += labels[at] == Row.NO_TARGET ? 0 : 1;
      }
    }
  }

  /** Puts examples together. */
  static Block of(Encoded[] examples) {
    int[] start = new int[examples.length + 1];
    byte[] fates = new byte[examples.length];
    int[] cut = new int[examples.length];
    for (int i = 0; i < examples.length; i++) {
      start[i + 1] = start[i] + examples[i].length();
      fates[i] = (byte) examples[i].fate().ordinal();
      cut[i] = examples[i].cut();
    }
    int[] ids = new int[start[examples.length]];
    int[] labels = new int[ids.length];
    for (int i = 0; i < examples.length; i++) {
      int length = examples[i].length();
      System.arraycopy(examples[i].ids(), 0, ids, start[i], length);
      System.arraycopy(examples[i].labels(), 0, labels, start[i], length);
    }
    return new Block(start, ids, labels, fates, cut);
  }

  int length(int i) {
    return start[i + 1] - start[i];
  }

  long bytes() {
    return 8L * ids.length + 13L * fates.length;
  }

  /**
   * An example's row.
   *
   * @param length of its tokens; 0 where it is left out
   */
  record Encoded(int[] ids, int[] labels, int length, Fate fate, int cut) {
    int targetTokens() {
      return RowStore.targets(labels, length);
    }

    static Encoded dropped(Fate fate) {
      return new Encoded(new int[0], new int[0], 0, fate, 0);
    }
  }
}
