package dev.caravan.data.mixture;

import java.util.Arrays;

/**
 * Which task, and which of its rows, example k of a mixture is, as a pure function of (seed, k)
 * that takes time in the logarithm of k and of the number of tasks, and replays nothing.
 *
 * <p>Example k is point j of a sequence, where k is permuted within its window of {@value #WINDOW}.
 * Point j is the radical inverse of j in base 2 with its digits shifted by a constant of the seed
 * (van der Corput 1935; the digital shift is that of L'Ecuyer and Lemieux 2002), and the task is
 * the one in whose part of [0, 1) the point falls. So the counts of all tasks keep to their rates
 * far closer than with independent draws: each differs from rate x k by at most about log2 k.
 *
 * <p>How many earlier points fell into a part is exact: the points below j are blocks of 2^b for
 * the bits b set in j, each of which is an evenly spaced grid that is counted by a shift. Draw n of
 * a task is position n mod size of its visit n / size, and each visit has an order of its own.
 */
public final class MixtureOrder {
  /** Examples that are permuted among themselves. */
  public static final int WINDOW = 1024;

  private static final int BITS = 62;
  private static final long ONE = 1L << BITS;

  private final long[] ends;
  private final long[] sizes;
  private final long seed;
  private final long shift;
  private final boolean shuffle;
  private final Permutation window = new Permutation(WINDOW);
  private final Permutation[] rows;

  /**
   * What an example is.
   *
   * @param task its task's number
   * @param row the row of the task
   * @param visit how often every row of the task has come up before
   */
  public record Draw(int task, long row, long visit) {}

  /**
   * @param rates one a task, summing to 1
   * @param sizes rows of each task; at least 1 where the rate is above 0
   * @param seed of the order
   * @param shuffle whether the rows of a task come in a new order on each visit, or in their own
   */
  public MixtureOrder(double[] rates, long[] sizes, long seed, boolean shuffle) {
    if (rates.length != sizes.length || rates.length == 0) {
      throw new IllegalArgumentException(
          "needs as many rates as sizes, got " + rates.length + " and " + sizes.length);
    }
    this.sizes = sizes.clone();
    this.seed = seed;
    this.shuffle = shuffle;
    shift = Mixing.mix(seed, 0x6d6978) & (ONE - 1);
    ends = new long[rates.length];
    rows = new Permutation[rates.length];
    double sum = 0;
    double lost = 0;
    int last = -1;
    for (int task = 0; task < rates.length; task++) {
      if (!(rates[task] >= 0)) {
        throw new IllegalArgumentException("rate " + task + " is " + rates[task]);
      }
      if (rates[task] > 0) {
        if (sizes[task] < 1) {
          throw new IllegalArgumentException("task " + task + " is drawn but has no rows");
        }
        last = task;
        rows[task] = new Permutation(sizes[task]);
      }
      double term = rates[task] - lost;
      double next = sum + term;
      lost = next - sum - term;
      sum = next;
      ends[task] = Math.min(ONE, (long) Math.rint(sum * ONE));
    }
    if (last < 0 || Math.abs(sum - 1) > 1e-9) {
      throw new IllegalArgumentException("rates must sum to 1, got " + sum);
    }
    Arrays.fill(ends, last, ends.length, ONE);
  }

  /** The number of tasks. */
  public int tasks() {
    return ends.length;
  }

  /** Example {@code k}, from 0 to 2^62 - 1. */
  public Draw at(long k) {
    if (k < 0 || k >= ONE) {
      throw new IndexOutOfBoundsException("example " + k);
    }
    long j = permuted(k);
    int task = taskOf(point(j));
    long n = count(task, j);
    long visit = n / sizes[task];
    long position = n % sizes[task];
    long row =
        shuffle
            ? rows[task].at(Mixing.mix(Mixing.mix(seed, task), visit), position)
            : position;
    return new Draw(task, row, visit);
  }

  /**
   * How many of the first {@code k} examples are of {@code task}, before the examples of a window
   * are permuted; exact at the borders of windows.
   */
  public long count(int task, long k) {
    long below = task == 0 ? 0 : ends[task - 1];
    return pointsBelow(ends[task], k) - pointsBelow(below, k);
  }

  /**
   * The fewest examples among which {@code task} has come up {@code draws} times, before the
   * examples of a window are permuted.
   *
   * @throws IllegalArgumentException if it never comes up so often
   */
  public long examplesUntil(int task, long draws) {
    long low = 0;
    long high = Math.max(1, draws);
    while (count(task, high) < draws) {
      if (high >= ONE >> 1) {
        throw new IllegalArgumentException("task " + task + " is never drawn " + draws + " times");
      }
      high *= 2;
    }
    while (low < high) {
      long middle = (low + high) >>> 1;
      if (count(task, middle) >= draws) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return high;
  }

  /** Whether {@code task} is ever drawn. */
  public boolean isDrawn(int task) {
    return rows[task] != null && ends[task] > (task == 0 ? 0 : ends[task - 1]);
  }

  private long permuted(long k) {
    long first = k - k % WINDOW;
    return first + window.at(Mixing.mix(seed, first), k % WINDOW);
  }

  private long point(long j) {
    return Long.reverse(j) >>> (64 - BITS) ^ shift;
  }

  private int taskOf(long point) {
    int low = 0;
    int high = ends.length - 1;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (ends[middle] > point) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  /** How many of the points 0 .. count-1 are below {@code end}. */
  private long pointsBelow(long end, long count) {
    long below = 0;
    long base = 0;
    for (long left = count; left != 0; ) {
      int bit = 63 - Long.numberOfLeadingZeros(left);
      int free = BITS - bit;
      // Points base .. base + 2^bit - 1 are the grid t x 2^free + offset.
      long offset = point(base) & ((1L << free) - 1);
      if (end > offset) {
        below += ((end - offset - 1) >>> free) + 1;
      }
      base |= 1L << bit;
      left ^= 1L << bit;
    }
    return below;
  }
}
