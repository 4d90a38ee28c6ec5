package dev.caravan.eval;

import java.nio.FloatBuffer;
import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Chooses the next token. Temperature 0 takes the most likely one, the lowest id among equals; else one
 * is drawn from the smallest set of most likely tokens that hold a share {@code topP} of the probability
 * (Holtzman et al. 2020, arXiv 1904.09751, section 3.1).
 */
public final class Sampler {
  private final double temperature;
  private final double topP;
  private final SplittableRandom random;

  /**
   * @param temperature divides the logits; at least 0
   * @param topP above 0, at most 1
   * @param seed of the draws: the same seed draws the same tokens
   */
  public Sampler(double temperature, double topP, long seed) {
    this.temperature = temperature;
    this.topP = topP;
    this.random = new SplittableRandom(seed);
  }

  /** A token for these logits [V]. */
  public int next(FloatBuffer logits) {
    int best = 0;
    for (int i = 1; i < logits.capacity(); i++) {
      if (logits.get(i) > logits.get(best)) {
        best = i;
      }
    }
    return temperature == 0 ? best : draw(logits, logits.get(best));
  }

  private int draw(FloatBuffer logits, float highest) {
    int vocabulary = logits.capacity();
    double[] weight = new double[vocabulary];
    double total = 0;
    for (int i = 0; i < vocabulary; i++) {
      weight[i] = Math.exp((logits.get(i) - highest) / temperature);
      total += weight[i];
    }
    int[] order =
        IntStream.range(0, vocabulary)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -weight[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    double kept = 0;
    int last = 0;
    while (last < vocabulary && kept < topP * total) {
      kept += weight[order[last++]];
    }
    double left = random.nextDouble() * kept;
    for (int i = 0; i < last - 1; i++) {
      left -= weight[order[i]];
      if (left < 0) {
        return order[i];
      }
    }
    return order[last - 1];
  }
}
