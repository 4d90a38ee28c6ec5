package dev.caravan.data.mixture;

/**
 * Counter-based mixing of 64-bit words: every random choice is a pure function of the seed and a
 * counter.
 */
final class Mixing {
  /** 2^64 divided by the golden ratio, made odd: the increment of SplitMix64. */
  static final long GOLDEN_GAMMA = 0x9E3779B97F4A7C15L;

  private Mixing() {}

  /**
   * The finalizer of SplitMix64 (Steele, Lea, Flood 2014, Fast splittable pseudorandom number
   * generators, with Stafford's variant 13 of the constants): a bijection in which each input bit
   * changes about half of the output bits.
   */
  static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /** One word from two, with the order of the two told apart. */
  static long mix(long a, long b) {
    return mix(mix(a + GOLDEN_GAMMA) ^ (b + GOLDEN_GAMMA));
  }
}
