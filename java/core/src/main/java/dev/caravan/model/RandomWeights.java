package dev.caravan.model;

import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * Random starting values of a parameter. Element i of a parameter is a pure function of (seed,
 * name, i), so any window can be filled by any thread in any order with the same result.
 *
 * <p>The generator is SplitMix64 used as a counter (Steele, Lea, Flood 2014); normals by Box and
 * Muller (1958), in double, with StrictMath so that every machine makes the same bits.
 */
public final class RandomWeights {
  private static final long GAMMA = 0x9e3779b97f4a7c15L;
  private static final double TWO_TO_MINUS_53 = 0x1p-53;

  /** Elements that one thread makes: a billion of them take minutes on one core. */
  private static final int BLOCK = 1 << 14;

  private RandomWeights() {}

  /**
   * Fills {@code out} with elements first, first + 1, ... of the parameter.
   *
   * @param spec the parameter
   * @param seed the model's seed
   * @param deviation standard deviation of NORMAL parameters
   * @param first index of the first element wanted, row-major
   * @param out receives the values, all of it
   */
  public static void fill(WeightSpec spec, long seed, double deviation, long first, float[] out) {
    switch (spec.init()) {
      case ONES -> Arrays.fill(out, 1);
      case ZEROS -> Arrays.fill(out, 0);
      case NORMAL -> {
        long key = key(seed, spec.name());
        IntStream.range(0, (out.length + BLOCK - 1) / BLOCK)
            .parallel()
            .forEach(block -> normal(key, deviation, first, out, block * BLOCK));
      }
    }
  }

  /** The block of {@code out} that begins at {@code from}. */
  private static void normal(long key, double deviation, long first, float[] out, int from) {
    int end = Math.min(out.length, from + BLOCK);
    int i = from;
    while (i < end) {
      long pair = (first + i) >> 1;
      // 1 - u lies in (0, 1], so its logarithm is finite.
      double radius = StrictMath.sqrt(-2 * StrictMath.log(1 - uniform(key, 2 * pair)));
      double angle = 2 * Math.PI * uniform(key, 2 * pair + 1);
      if (((first + i) & 1) == 0) {
        out[i++] = (float) (deviation * radius * StrictMath.cos(angle));
        if (i == end) {
          break;
        }
      }
      out[i++] = (float) (deviation * radius * StrictMath.sin(angle));
    }
  }

  /** Uniform in [0, 1) with 53 random bits. */
  private static double uniform(long key, long counter) {
    return (mix(key + (counter + 1) * GAMMA) >>> 11) * TWO_TO_MINUS_53;
  }

  /** One stream per parameter: the seed mixed with the FNV-1a hash of the name. */
  private static long key(long seed, String name) {
    long hash = 0xcbf29ce484222325L;
    for (int i = 0; i < name.length(); i++) {
      hash = (hash ^ name.charAt(i)) * 0x100000001b3L;
    }
    return mix(mix(seed + GAMMA) ^ hash);
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }
}
