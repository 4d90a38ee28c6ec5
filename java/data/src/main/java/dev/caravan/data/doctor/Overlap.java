package dev.caravan.data.doctor;

import dev.caravan.data.source.Example;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Evaluation rows, to be looked up by training rows. Two rows are copies if they have the same words
 * in the same order, and near copies if the training row has {@link #NEAR} of the evaluation row's
 * runs of {@link #RUN} words, wherever they stand in it. Runs that several evaluation rows share
 * (an instruction that is the same for all) say nothing and do not count. Safe for several threads.
 */
public final class Overlap {
  /** Words of a run. */
  public static final int RUN = 5;

  /** The share of an evaluation row's own runs by which it counts as a near copy. */
  public static final double NEAR = 0.8;

  /** Rows with fewer runs of their own are only compared as a whole. */
  private static final int FEWEST = 4;

  /** A run in more evaluation rows than this is no row's own. */
  private static final int SHARED = 2;

  private static final int ROW_BITS = 24;
  private static final long ROW_MASK = (1L << ROW_BITS) - 1;

  private final List<String> where;
  private final Map<Long, Integer> whole;
  private final long[] runs;
  private final int[] own;

  private Overlap(List<String> where, Map<Long, Integer> whole, long[] runs, int[] own) {
    this.where = where;
    this.whole = whole;
    this.runs = runs;
    this.own = own;
  }

  /**
   * A copy of an evaluation row.
   *
   * @param row the evaluation row's number, in the order in which they were added
   * @param where it is from
   * @param share of its own runs of words that are in the training row; 1 for a copy
   * @param exact whether all words are the same
   */
  public record Copy(int row, String where, double share, boolean exact) {}

  /** Takes evaluation rows. */
  public static final class Builder {
    private final List<String> where = new ArrayList<>();
    private final Map<Long, Integer> whole = new HashMap<>();
    private long[] runs = new long[1024];
    private int count;

    /**
     * Adds an evaluation row; one without words is left out.
     *
     * @param from {@code FILE:LINE}
     */
    public void add(Example example, String from) {
      long[] words = Words.hashes(Words.text(example));
      if (words.length == 0 || where.size() > ROW_MASK) {
        return;
      }
      int row = where.size();
      where.add(from);
      whole.putIfAbsent(Words.hash(words, 0, words.length), row);
      for (long run : runsOf(words)) {
        if (count == runs.length) {
          runs = Arrays.copyOf(runs, 2 * count);
        }
        runs[count++] = run | row;
      }
    }

    /** The rows, ready to be looked up. */
    public Overlap build() {
      long[] sorted = Arrays.copyOf(runs, count);
      Arrays.parallelSort(sorted);
      int[] own = new int[where.size()];
      int kept = 0;
      for (int from = 0; from < count; ) {
        int to = from + 1;
        while (to < count && (sorted[to] & ~ROW_MASK) == (sorted[from] & ~ROW_MASK)) {
          to++;
        }
        if (to - from <= SHARED) {
          for (int i = from; i < to; i++) {
            own[(int) (sorted[i] & ROW_MASK)]++;
            sorted[kept++] = sorted[i];
          }
        }
        from = to;
      }
      return new Overlap(
          List.copyOf(where), Map.copyOf(whole), Arrays.copyOf(sorted, kept), own);
    }
  }

  /** The different runs of a text's words, as hashes whose lower bits are free for a row. */
  private static long[] runsOf(long[] words) {
    long[] all = new long[Math.max(0, words.length - RUN + 1)];
    for (int i = 0; i < all.length; i++) {
      all[i] = Words.hash(words, i, RUN) & ~ROW_MASK;
    }
    return Arrays.stream(all).distinct().toArray();
  }

  /** How many evaluation rows there are. */
  public int size() {
    return where.size();
  }

  /** The evaluation row that a training row copies, the one it has most of; empty if none. */
  public Optional<Copy> find(Example example) {
    long[] words = Words.hashes(Words.text(example));
    if (words.length == 0) {
      return Optional.empty();
    }
    Integer same = whole.get(Words.hash(words, 0, words.length));
    if (same != null) {
      return Optional.of(new Copy(same, where.get(same), 1, true));
    }
    Map<Integer, Integer> found = new HashMap<>();
    for (long run : runsOf(words)) {
      int at = Arrays.binarySearch(runs, run);
      for (at = at < 0 ? -at - 1 : at; at < runs.length && (runs[at] & ~ROW_MASK) == run; at++) {
        found.merge((int) (runs[at] & ROW_MASK), 1, Integer::sum);
      }
    }
    Copy best = null;
    for (Map.Entry<Integer, Integer> entry : found.entrySet()) {
      int row = entry.getKey();
      double share = (double) entry.getValue() / own[row];
      boolean better =
          best == null || share > best.share() || share == best.share() && row < best.row();
      if (own[row] >= FEWEST && share >= NEAR && better) {
        best = new Copy(row, where.get(row), share, false);
      }
    }
    return Optional.ofNullable(best);
  }
}
