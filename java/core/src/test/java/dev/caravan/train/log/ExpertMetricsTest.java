package dev.caravan.train.log;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ExpertMetricsTest {
  private static final int EXPERTS = 5;
  private static final int CHOICES = 400;

  /** Totals of a layer as the balance op leaves them, from the choices one by one. */
  private static double[] totals(int[] chosen, int dropped) {
    double[] totals = new double[3 + EXPERTS];
    totals[2] = dropped;
    for (int expert : chosen) {
      totals[3 + expert]++;
    }
    return totals;
  }

  @Test
  void figuresAreThoseOfThePlainCounts() {
    Random random = new Random(3);
    // Squares of a number below 1: the first experts get more, and the last one nothing.
    int[] chosen =
        random.doubles(CHOICES).mapToInt(x -> (int) (x * x * (EXPERTS - 1))).toArray();
    ExpertMetrics metrics = ExpertMetrics.of(totals(chosen, 40), 1);
    ExpertMetrics.Layer layer = metrics.layers().get(0);
    long[] counts = new long[EXPERTS];
    for (int expert : chosen) {
      counts[expert]++;
    }
    double entropy = 0;
    long most = 0;
    for (int e = 0; e < EXPERTS; e++) {
      assertEquals(counts[e], layer.choices().get(e));
      double share = counts[e] / (double) CHOICES;
      entropy -= counts[e] == 0 ? 0 : share * Math.log(share);
      most = Math.max(most, counts[e]);
    }
    assertEquals(0, layer.choices().get(EXPERTS - 1));
    assertEquals(CHOICES, layer.choices().stream().mapToLong(Long::longValue).sum());
    assertEquals(entropy, layer.entropy(), 1e-12);
    assertEquals(most * EXPERTS / (double) CHOICES, layer.loadMax(), 1e-12);
    assertEquals(0.1, layer.dropShare(), 1e-12);
  }

  @Test
  void eachLayerHasItsOwnCounts() {
    double[] totals = {1, 10, 0, 3, 1, 2, 20, 4, 0, 4};
    ExpertMetrics metrics = ExpertMetrics.of(totals, 2);
    assertEquals(List.of(3L, 1L), metrics.layers().get(0).choices());
    assertEquals(List.of(0L, 4L), metrics.layers().get(1).choices());
    assertEquals(3, metrics.auxLoss());
    assertEquals(0.5, metrics.dropShare());
    assertEquals(2, metrics.loadMax());
  }
}
