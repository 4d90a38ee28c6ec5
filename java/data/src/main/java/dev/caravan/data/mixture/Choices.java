package dev.caravan.data.mixture;

/** Choices at random that are pure functions of what they are made for. */
public final class Choices {
  private Choices() {}

  /** A 64-bit word of the counters. */
  public static long word(long... counters) {
    long word = 0;
    for (long counter : counters) {
      word = Mixing.mix(word, counter);
    }
    return word;
  }

  /** One of 0 .. bound-1, all of which are as likely to within bound / 2^64. */
  public static int below(int bound, long... counters) {
    return (int) Math.multiplyHigh(word(counters) >>> 1, (long) bound << 1);
  }

  /** A number from 0 to 1, without 1. */
  public static double share(long... counters) {
    return (word(counters) >>> 11) * 0x1p-53;
  }

  /** Where {@code position} goes in a permutation of 0 .. size-1 that the key chooses. */
  public static long permuted(long size, long key, long position) {
    return new Permutation(size).at(key, position);
  }
}
