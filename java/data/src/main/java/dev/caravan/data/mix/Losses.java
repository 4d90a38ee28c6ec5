package dev.caravan.data.mix;

import java.util.BitSet;

/** What was cut and left out of the examples that were made, by task. Safe for several threads. */
public final class Losses {
  private static final int FATES = Block.Fate.values().length;

  private final long[][] fates;
  private final long[] cut;
  private final BitSet counted = new BitSet();

  Losses(int tasks) {
    fates = new long[tasks][FATES];
    cut = new long[tasks];
  }

  /** Counts a window once, however often it is made. */
  synchronized void count(int window, Block block, int[] task) {
    if (counted.get(window)) {
      return;
    }
    counted.set(window);
    for (int i = 0; i < task.length; i++) {
      fates[task[i]][block.fate(i).ordinal()]++;
      cut[task[i]] += block.cut(i);
    }
  }

  /** Examples of a task that were made. */
  public synchronized long made(int task) {
    long sum = 0;
    for (long fate : fates[task]) {
      sum += fate;
    }
    return sum;
  }

  /** Examples that lost tokens. */
  public synchronized long truncated(int task) {
    return fates[task][Block.Fate.TRUNCATED.ordinal()] + targetTruncated(task);
  }

  /** Pairs whose target lost tokens. */
  public synchronized long targetTruncated(int task) {
    return fates[task][Block.Fate.TRUNCATED_TARGET.ordinal()];
  }

  /** Tokens that the truncated ones lost. */
  public synchronized long tokensCut(int task) {
    return cut[task];
  }

  /** Examples left out because they have no target. */
  public synchronized long emptyTarget(int task) {
    return fates[task][Block.Fate.EMPTY_TARGET.ordinal()];
  }

  /** Examples left out because truncation took their whole target. */
  public synchronized long cutTarget(int task) {
    return fates[task][Block.Fate.CUT_TARGET.ordinal()];
  }
}
