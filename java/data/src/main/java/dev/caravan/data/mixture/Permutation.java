package dev.caravan.data.mixture;

/**
 * A keyed permutation of {@code 0 .. size-1} that is computed, not stored: {@link #at} takes
 * constant time and no memory, so example k of a shuffled epoch is known without shuffling
 * anything.
 *
 * <p>A balanced Feistel network of {@value #ROUNDS} rounds over the next even number of bits (Luby
 * and Rackoff 1988, How to construct pseudorandom permutations), brought down to {@code size} by
 * walking the cycle until a value below it comes up (Black and Rogaway 2002, Ciphers with arbitrary
 * finite domains, section 3). The network's domain is less than four times {@code size}, or {@value
 * #SMALLEST_DOMAIN}, so a walk takes fewer than four steps on average for all but tiny sizes.
 */
final class Permutation {
  private static final int ROUNDS = 6;
  private static final int SMALLEST_HALF_BITS = 3;
  private static final int SMALLEST_DOMAIN = 1 << (2 * SMALLEST_HALF_BITS);

  private final long size;
  private final int halfBits;
  private final long halfMask;

  /**
   * @param size how many values are permuted, 1 to 2^62
   */
  Permutation(long size) {
    if (size < 1 || size > 1L << 62) {
      throw new IllegalArgumentException("size must be 1 to 2^62, got " + size);
    }
    this.size = size;
    int bits = 64 - Long.numberOfLeadingZeros(size - 1);
    halfBits = Math.max(SMALLEST_HALF_BITS, (bits + 1) / 2);
    halfMask = (1L << halfBits) - 1;
  }

  /** Where {@code position} goes under {@code key}: a bijection of 0 .. size-1 for each key. */
  long at(long key, long position) {
    if (position < 0 || position >= size) {
      throw new IndexOutOfBoundsException("position " + position + " of " + size);
    }
    long value = position;
    do {
      value = encrypt(key, value);
    } while (value >= size);
    return value;
  }

  private long encrypt(long key, long value) {
    long left = value >>> halfBits;
    long right = value & halfMask;
    long roundKey = key;
    for (int round = 0; round < ROUNDS; round++) {
      roundKey += Mixing.GOLDEN_GAMMA;
      long next = left ^ (Mixing.mix(right ^ Mixing.mix(roundKey)) & halfMask);
      left = right;
      right = next;
    }
    return left << halfBits | right;
  }
}
