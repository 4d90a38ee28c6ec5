package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class LlamaCostTest {
  /** Table 2 of the LLaMA paper, arXiv 2302.13971: 6.7B, 13.0B, 32.5B, 65.2B. */
  @Test
  void countsTheParametersOfThePaper() {
    assertEquals(6.7e9, parameters("7b"), 0.05e9);
    assertEquals(13.0e9, parameters("13b"), 0.05e9);
    assertEquals(32.5e9, parameters("33b"), 0.05e9);
    assertEquals(65.2e9, parameters("65b"), 0.1e9);
  }

  private static double parameters(String size) {
    return cost(size).parameters();
  }

  private static LlamaCost cost(String size) {
    return new LlamaCost(ModelSizes.config("llama", size).llama());
  }

  /** By hand for 7B: 32 blocks of 4 x 4096^2 + 3 x 4096 x 11008, an output of 32000 x 4096. */
  @Test
  void countsSixFlopsAWeightAndTwelveAPair() {
    double weights = 32.0 * (4 * 4096.0 * 4096 + 3 * 4096.0 * 11008) + 32000.0 * 4096;
    double attention = 32 * 12.0 * 4096 * (2048 + 1) / 2;
    assertEquals(6 * weights + attention, cost("7b").trainingFlopsPerToken(2048), 1);
  }

  /** By hand for GLaM 64B/64E: 32 of its 64 blocks choose among 64 experts, width 8192. */
  @Test
  void countsWhatChoosesExpertsApart() {
    LlamaCost glam = new LlamaCost(ModelSizes.config("glam", "64b-64e").config());
    assertEquals(6 * 32.0 * 64 * 8192, glam.routingFlopsPerToken());
    assertEquals(0, cost("7b").routingFlopsPerToken());
    double routers = 0;
    for (WeightSpec spec : glam.config().specs()) {
      routers += spec.name().endsWith("mlp.gate.weight") ? 6.0 * spec.elements() : 0;
    }
    assertEquals(routers, glam.routingFlopsPerToken());
  }

  @Test
  void averagesTheKeysThatATokenSees() {
    for (int sequence : new int[] {1, 2, 7, 20}) {
      for (int window : new int[] {0, 1, 3, 7, 50}) {
        double sum = 0;
        for (int i = 0; i < sequence; i++) {
          sum += window == 0 ? i + 1 : Math.min(i + 1, window);
        }
        assertEquals(sum / sequence, LlamaCost.averageKeys(sequence, window), 1e-12);
      }
    }
  }
}
