package dev.caravan.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import org.junit.jupiter.api.Test;

class SamplerTest {
  private static final int DRAWS = 20_000;

  private static FloatBuffer logOf(double... probabilities) {
    FloatBuffer logits = FloatBuffer.allocate(probabilities.length);
    for (int i = 0; i < probabilities.length; i++) {
      logits.put(i, (float) Math.log(probabilities[i]) + 3);
    }
    return logits;
  }

  private static double[] shares(Sampler sampler, FloatBuffer logits) {
    double[] shares = new double[logits.capacity()];
    for (int i = 0; i < DRAWS; i++) {
      shares[sampler.next(logits)] += 1.0 / DRAWS;
    }
    return shares;
  }

  @Test
  void temperatureZeroTakesTheLikeliestAndTheLowestOfEquals() {
    Sampler greedy = new Sampler(0, 1, 1);
    assertEquals(2, greedy.next(logOf(0.1, 0.2, 0.5, 0.2)));
    assertEquals(1, greedy.next(logOf(0.1, 0.4, 0.1, 0.4)));
  }

  @Test
  void drawsFollowTheProbabilities() {
    double[] expected = {0.5, 0.3, 0.15, 0.05};
    double[] shares = shares(new Sampler(1, 1, 7), logOf(expected));
    for (int i = 0; i < expected.length; i++) {
      double deviation = Math.sqrt(expected[i] * (1 - expected[i]) / DRAWS);
      assertEquals(expected[i], shares[i], 5 * deviation);
    }
  }

  @Test
  void temperatureSharpens() {
    // Probabilities to the power 1 / 0.5, normalised: 0.25, 0.09, 0.0225, 0.0025 over 0.365.
    double[] shares = shares(new Sampler(0.5, 1, 7), logOf(0.5, 0.3, 0.15, 0.05));
    assertEquals(0.25 / 0.365, shares[0], 0.02);
  }

  @Test
  void topPLeavesOutTheTail() {
    double[] shares = shares(new Sampler(1, 0.6, 7), logOf(0.05, 0.3, 0.15, 0.5));
    assertEquals(0, shares[0]);
    assertEquals(0, shares[2]);
    assertEquals(0.5 / 0.8, shares[3], 0.02);
    assertTrue(shares[1] > 0);
  }

  @Test
  void theSeedDecides() {
    FloatBuffer logits = logOf(0.25, 0.25, 0.25, 0.25);
    Sampler one = new Sampler(1, 1, 11);
    Sampler same = new Sampler(1, 1, 11);
    for (int i = 0; i < 50; i++) {
      assertEquals(one.next(logits), same.next(logits));
    }
  }
}
