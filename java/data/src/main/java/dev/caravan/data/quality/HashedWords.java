package dev.caravan.data.quality;

import java.util.Arrays;
import java.util.Locale;

/**
 * A text as counts of its words and pairs of neighbouring words, each in the bucket that its hash
 * names (Weinberger et al. 2009). Words are runs of letters and digits in lower case. Counts enter
 * by their logarithm, and the whole has length one, so that long texts weigh as much as short ones.
 */
final class HashedWords {
  private static final long OFFSET = 0xcbf29ce484222325L;
  private static final long PRIME = 0x100000001b3L;

  private final int mask;

  /** The buckets that occur, ascending, and their values; both of one length. */
  record Features(int[] buckets, float[] values) {}

  /**
   * @param bits there are 2^bits buckets
   */
  HashedWords(int bits) {
    mask = (1 << bits) - 1;
  }

  Features of(String text) {
    int[] found = new int[64];
    int count = 0;
    long before = 0;
    String lower = text.toLowerCase(Locale.ROOT);
    int length = lower.length();
    for (int at = 0; at < length; ) {
      if (!Character.isLetterOrDigit(lower.charAt(at))) {
        at++;
        continue;
      }
      long word = OFFSET;
      for (; at < length && Character.isLetterOrDigit(lower.charAt(at)); at++) {
        word = (word ^ lower.charAt(at)) * PRIME;
      }
      if (count + 2 > found.length) {
        found = Arrays.copyOf(found, 2 * found.length);
      }
      found[count++] = bucket(word);
      if (before != 0) {
        found[count++] = bucket(before * PRIME ^ word);
      }
      before = word;
    }
    return counted(found, count);
  }

  private int bucket(long hash) {
    long mixed = (hash ^ (hash >>> 33)) * 0xff51afd7ed558ccdL;
    return (int) (mixed ^ (mixed >>> 33)) & mask;
  }

  private static Features counted(int[] found, int count) {
    Arrays.sort(found, 0, count);
    int[] buckets = new int[count];
    float[] values = new float[count];
    int different = 0;
    double squares = 0;
    for (int i = 0; i < count; ) {
      int same = i;
      while (same < count && found[same] == found[i]) {
        same++;
      }
      double value = 1 + Math.log(same - i);
      buckets[different] = found[i];
      values[different++] = (float) value;
      squares += value * value;
      i = same;
    }
    float scale = squares == 0 ? 0 : (float) (1 / Math.sqrt(squares));
    for (int i = 0; i < different; i++) {
      values[i] *= scale;
    }
    return new Features(Arrays.copyOf(buckets, different), Arrays.copyOf(values, different));
  }
}
