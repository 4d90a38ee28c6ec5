package dev.caravan.data.quality;

import dev.caravan.data.UserError;

/**
 * Decides by a text's score whether it is kept: where a draw from a Pareto distribution (Lomax,
 * from 0 on, as numpy draws it) is above 1 - score. So nearly all good texts stay, and some of
 * every other kind: a text of score s is kept with probability (2 - s)^-alpha. Text number i has
 * its own draw, a pure function of the seed and i.
 *
 * @param alpha the shape, above 0; 9 in GPT-3
 * @param seed of the draws
 */
public record ParetoDraw(double alpha, long seed) {
  /** GPT-3's shape. */
  public static final double GPT3 = 9;

  public ParetoDraw {
    if (!(alpha > 0) || Double.isInfinite(alpha)) {
      throw new UserError("filter.alpha: got " + alpha + ", needs a number above 0");
    }
  }

  /**
   * Whether text {@code index} is kept.
   *
   * @param score 0 to 1
   */
  public boolean keeps(double score, long index) {
    return draw(index) > 1 - score;
  }

  /** The probability that a text of this score is kept. */
  public double probability(double score) {
    return Math.pow(2 - score, -alpha);
  }

  private double draw(long index) {
    long mixed = mix(mix(seed) + index * 0x9E3779B97F4A7C15L);
    double uniform = ((mixed >>> 11) + 0.5) * 0x1p-53;
    return Math.pow(uniform, -1 / alpha) - 1;
  }

  /** The finaliser of SplitMix64 (Steele et al. 2014). */
  private static long mix(long value) {
    long mixed = value + 0x9E3779B97F4A7C15L;
    mixed = (mixed ^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9L;
    mixed = (mixed ^ (mixed >>> 27)) * 0x94D049BB133111EBL;
    return mixed ^ (mixed >>> 31);
  }
}
