package dev.caravan.data.task;

import dev.caravan.data.Row;
import java.util.Arrays;

/** Token ids and labels of one example while they are put together. */
public final class EncodedRow {
  private int[] ids = new int[256];
  private int[] labels = new int[256];
  private int length;
  private int tokensCut;

  /** Token ids; the first {@link #length} count. */
  public int[] ids() {
    return ids;
  }

  /** Labels; the first {@link #length} count. */
  public int[] labels() {
    return labels;
  }

  /** The number of tokens. */
  public int length() {
    return length;
  }

  /** The tokens before the first target. */
  public int promptTokens() {
    int at = 0;
    while (at < length && labels[at] == Row.NO_TARGET) {
      at++;
    }
    return at;
  }

  /** Tokens that truncation took. */
  public int tokensCut() {
    return tokensCut;
  }

  /** Adds a token. */
  public void add(int id, boolean target) {
    reserve(1);
    ids[length] = id;
    labels[length] = target ? id : Row.NO_TARGET;
    length++;
  }

  /** Adds tokens. */
  public void add(int[] more, boolean target) {
    reserve(more.length);
    System.arraycopy(more, 0, ids, length, more.length);
    if (target) {
      System.arraycopy(more, 0, labels, length, more.length);
    } else {
      Arrays.fill(labels, length, length + more.length, Row.NO_TARGET);
    }
    length += more.length;
  }

  private void reserve(int more) {
    if (length + more > ids.length) {
      int capacity = Math.max(2 * ids.length, length + more);
      ids = Arrays.copyOf(ids, capacity);
      labels = Arrays.copyOf(labels, capacity);
    }
  }

  /** Takes out {@code from .. to}. */
  void cut(int from, int to) {
    System.arraycopy(ids, to, ids, from, length - to);
    System.arraycopy(labels, to, labels, from, length - to);
    length -= to - from;
    tokensCut += to - from;
  }

  /**
   * Cuts it down to {@code limit} tokens on the prompt side: first the tokens behind a leading BOS,
   * the oldest first, up to the last response; then, if that alone is too long, the response's end.
   * One token always stays before the response, so that its first token can be learnt.
   *
   * @param bos whether the row begins with a BOS token
   */
  public void truncate(int limit, boolean bos) {
    int excess = length - limit;
    if (excess <= 0) {
      return;
    }
    int from = bos ? 1 : 0;
    int lastResponse = lastTargetStart();
    int to = Math.min(from + excess, lastResponse - (bos ? 0 : 1));
    if (to > from) {
      cut(from, to);
    }
    if (length > limit) {
      cut(limit, length);
    }
  }

  /**
   * Cuts a pair down as T5X's seqio does: each side keeps its beginning and the end token behind
   * it.
   *
   * @param most tokens of the source, which stands before the first target
   * @param mostTargets tokens of the target
   * @return the tokens that the target lost
   */
  public int truncatePair(int most, int mostTargets) {
    int sources = promptTokens();
    if (sources > most) {
      cut(most - 1, sources - 1);
      sources = most;
    }
    int excess = length - sources - mostTargets;
    if (excess <= 0) {
      return 0;
    }
    cut(sources + mostTargets - 1, length - 1);
    return excess;
  }

  /** Where the last run of targets begins; the length if there is none. */
  private int lastTargetStart() {
    int at = length;
    while (at > 0 && labels[at - 1] == Row.NO_TARGET) {
      at--;
    }
    if (at == 0) {
      return length;
    }
    while (at > 0 && labels[at - 1] != Row.NO_TARGET) {
      at--;
    }
    return at;
  }
}
