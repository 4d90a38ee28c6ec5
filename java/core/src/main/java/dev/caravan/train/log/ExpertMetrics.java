package dev.caravan.train.log;

import java.util.ArrayList;
import java.util.List;

/**
 * What the sparse layers of a step did.
 *
 * @param auxLoss load-balancing loss before its weight, summed over layers
 * @param zLoss z loss before its weight, summed over layers
 * @param loadMax the busiest expert's choices over an expert's even share, the largest of all layers
 * @param entropy entropy of the choices over the experts, nats, the mean over layers
 * @param dropShare share of the choices that found no room or were left out
 * @param layers the same of each sparse layer
 */
public record ExpertMetrics(
    double auxLoss,
    double zLoss,
    double loadMax,
    double entropy,
    double dropShare,
    List<Layer> layers) {
  /**
   * One sparse layer.
   *
   * @param choices how many choices each expert got over all ranks, before any were dropped
   */
  public record Layer(
      double auxLoss,
      double zLoss,
      double loadMax,
      double entropy,
      double dropShare,
      List<Long> choices) {
    /** Copies the list. */
    public Layer {
      choices = List.copyOf(choices);
    }
  }

  /** Copies the list. */
  public ExpertMetrics {
    layers = List.copyOf(layers);
  }

  /**
   * From what the balance op has added up.
   *
   * @param totals of each layer: balance loss, z loss, choices dropped, then each expert's choices
   */
  public static ExpertMetrics of(double[] totals, int layers) {
    int width = totals.length / layers;
    List<Layer> each = new ArrayList<>();
    double[] sums = new double[5];
    double chosen = 0;
    double dropped = 0;
    for (int l = 0; l < layers; l++) {
      int first = l * width;
      double all = 0;
      double most = 0;
      List<Long> choices = new ArrayList<>();
      for (int e = 3; e < width; e++) {
        choices.add(Math.round(totals[first + e]));
        all += totals[first + e];
        most = Math.max(most, totals[first + e]);
      }
      double entropy = 0;
      for (int e = 3; e < width; e++) {
        double share = totals[first + e] / all;
        entropy -= share > 0 ? share * Math.log(share) : 0;
      }
      double loadMax = all > 0 ? most / all * (width - 3) : 0;
      double drops = all > 0 ? totals[first + 2] / all : 0;
      each.add(new Layer(totals[first], totals[first + 1], loadMax, entropy, drops, choices));
      sums[0] += totals[first];
      sums[1] += totals[first + 1];
      sums[2] = Math.max(sums[2], loadMax);
      sums[3] += entropy / layers;
      chosen += all;
      dropped += totals[first + 2];
    }
    return new ExpertMetrics(
        sums[0], sums[1], sums[2], sums[3], chosen > 0 ? dropped / chosen : 0, each);
  }
}
