package dev.caravan.data.mix;

import dev.caravan.data.RowStore;

/** The tokens of consecutive examples. Reading is safe from several threads. */
interface Block {
  /** What became of an example. */
  enum Fate {
    KEPT,
    /** It lost tokens. */
    TRUNCATED,
    /** It has no target. */
    EMPTY_TARGET,
    /** Truncation took its whole target. */
    CUT_TARGET,
    /** The target of a pair lost tokens, and its source may have. */
    TRUNCATED_TARGET
  }

  /** The number of examples. */
  int size();

  /** The tokens of example {@code i}; 0 where it is left out. */
  int length(int i);

  /** The target tokens of example {@code i}. */
  int targets(int i);

  /** The tokens of a pair's source, which stands before its target; 0 for a row. */
  int sources(int i);

  void copyIds(int i, int[] into, int offset);

  void copyLabels(int i, int[] into, int offset);

  Fate fate(int i);

  /** The tokens that example {@code i} lost. */
  int cut(int i);

  /** About as much of the heap as it takes. */
  long heapBytes();

  /**
   * An example's row, or its pair as one: the source, then the target.
   *
   * @param length of its tokens; 0 where it is left out
   * @param sources tokens of a pair's source; 0 for a row
   */
  record Encoded(int[] ids, int[] labels, int length, Fate fate, int cut, int sources) {
    Encoded(int[] ids, int[] labels, int length, Fate fate, int cut) {
      this(ids, labels, length, fate, cut, 0);
    }

    int targetTokens() {
      return RowStore.targets(labels, length);
    }

    static Encoded dropped(Fate fate) {
      return new Encoded(new int[0], new int[0], 0, fate, 0);
    }
  }
}
