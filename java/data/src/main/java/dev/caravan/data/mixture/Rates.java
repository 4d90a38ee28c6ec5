package dev.caravan.data.mixture;

import dev.caravan.data.UserError;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How often each part of a mixture is drawn: pure functions from sizes and settings to rates that
 * sum to 1.
 */
public final class Rates {
  /** No upper bound of a part's weight. */
  public static final double NO_CAP = Double.POSITIVE_INFINITY;

  private Rates() {}

  /** A leaf or a branch of a mixture of mixtures. */
  public sealed interface Node {}

  /**
   * A task.
   *
   * @param task its number
   */
  public record Leaf(int task) implements Node {}

  /**
   * A mixture.
   *
   * @param name for errors
   * @param parts at least one
   * @param weights one a part, of any scale
   */
  public record Mix(String name, List<Node> parts, double[] weights) implements Node {
    public Mix {
      parts = List.copyOf(parts);
      if (weights.length != parts.size()) {
        throw new IllegalArgumentException(
            "weights must be as many as parts, got " + weights.length + " and " + parts.size());
      }
    }
  }

  /** Every part as often as the others. */
  public static double[] equal(int parts) {
    double[] rates = new double[parts];
    Arrays.fill(rates, 1.0 / parts);
    return rates;
  }

  /** Each part by its size. */
  public static double[] proportional(long[] sizes) {
    return normalise(weights(sizes, 1, NO_CAP, 1), "rates");
  }

  /**
   * Each part by min(size x scale, cap)^(1 / temperature), divided by the sum: the cap is taken
   * before the temperature, as seqio's mixing_rate_num_examples does.
   *
   * @param scale factor of the sizes; 1 for none
   * @param cap the largest weight; {@link #NO_CAP} for none
   * @param temperature 1 for none; the larger, the more alike the rates
   * @throws UserError for a setting that is not a number above 0, or when every weight is 0
   */
  public static double[] of(long[] sizes, double scale, double cap, double temperature) {
    return normalise(weights(sizes, scale, cap, temperature), "rates");
  }

  /** The weights of {@link #of} before they are divided by their sum. */
  public static double[] weights(long[] sizes, double scale, double cap, double temperature) {
    return weights(Arrays.stream(sizes).asDoubleStream().toArray(), scale, cap, temperature);
  }

  /** As above, of sizes that need not be whole, as sums of what caps have left of others. */
  public static double[] weights(double[] sizes, double scale, double cap, double temperature) {
    positive("scale", scale);
    positive("cap", cap);
    positive("temperature", temperature);
    double[] weights = new double[sizes.length];
    for (int i = 0; i < sizes.length; i++) {
      // The same bits on every machine, since ranks agree on whose turn it is without talking.
      double capped = Math.min(sizes[i] * scale, cap);
      weights[i] = temperature == 1 ? capped : StrictMath.pow(capped, 1 / temperature);
    }
    return weights;
  }

  /**
   * Weights divided by their sum.
   *
   * @param what names them in errors
   * @throws UserError if one is negative or not a number, or if all are 0
   */
  public static double[] normalise(double[] weights, String what) {
    double sum = 0;
    double lost = 0;
    for (int i = 0; i < weights.length; i++) {
      double weight = weights[i];
      if (!(weight >= 0) || Double.isInfinite(weight)) {
        throw new UserError(
            what + ": part " + (i + 1) + " has the weight " + weight + ", needs at least 0");
      }
      double term = weight - lost;
      double next = sum + term;
      lost = next - sum - term;
      sum = next;
    }
    if (sum == 0) {
      throw new UserError(what + ": every weight is 0, needs one above 0");
    }
    double[] rates = new double[weights.length];
    for (int i = 0; i < rates.length; i++) {
      rates[i] = weights[i] / sum;
    }
    return rates;
  }

  /**
   * The rates of the tasks below a mixture: at every level the weights are divided by their sum and
   * multiplied by the rate of the mixture itself; a task that is reached on several ways gets the
   * sum.
   *
   * @param tasks how many there are
   */
  public static double[] flatten(Node root, int tasks) {
    Map<Integer, Double> rates = new LinkedHashMap<>();
    flatten(root, 1, rates);
    double[] all = new double[tasks];
    rates.forEach((task, rate) -> all[task] = rate);
    return all;
  }

  private static void flatten(Node node, double rate, Map<Integer, Double> into) {
    if (node instanceof Leaf leaf) {
      into.merge(leaf.task(), rate, Double::sum);
      return;
    }
    Mix mix = (Mix) node;
    double[] rates = normalise(mix.weights(), mix.name());
    for (int i = 0; i < rates.length; i++) {
      flatten(mix.parts().get(i), rate * rates[i], into);
    }
  }

  private static void positive(String what, double value) {
    if (!(value > 0)) {
      throw new UserError(what + ": got " + value + ", needs a number above 0");
    }
  }
}
