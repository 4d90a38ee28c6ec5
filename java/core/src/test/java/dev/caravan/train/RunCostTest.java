package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RunCostTest {
  /** Inputs of 2,048 and targets of 512, packed: google-research/FLAN, constants.SEQUENCE_LEN. */
  private static final int FLAN_TOKENS = 2048 + 512;

  /**
   * Steps, batch and fine-tuning FLOPs of Chung et al. 2022 (arXiv 2210.11416), tables 2 and 22,
   * and the model sizes they name. Two digits are printed, so 3 % apart is the same. Small and Base
   * are left out, whose sizes are too round, and U-PaLM, whose FLOPs are those of 21k steps.
   */
  @ParameterizedTest
  @CsvSource({
    "Flan-T5-Large, 780e6, true, 64, 64000, 2.4e19",
    "Flan-T5-XL, 3e9, true, 64, 38000, 5.6e19",
    "Flan-T5-XXL, 11e9, true, 64, 14000, 7.6e19",
    "Flan-PaLM-8B, 8e9, false, 32, 40000, 1.6e20",
    "Flan-PaLM-62B, 62e9, false, 32, 40000, 1.2e21",
    "Flan-PaLM-540B, 540e9, false, 32, 21000, 5.6e21",
    "Flan-cont-PaLM-62B, 62e9, false, 32, 60000, 1.8e21",
  })
  void flansRunsAreOfPackedSequencesOf2560Tokens(
      String model,
      double parameters,
      boolean encoderDecoder,
      int batch,
      long steps,
      double flops) {
    double each = RunCost.flopsByParameters(parameters, encoderDecoder);
    RunCost run = RunCost.of(steps, (double) batch * FLAN_TOKENS, each, parameters, encoderDecoder);
    assertEquals(flops, run.flops(), 0.03 * flops, model);
    assertEquals(FLAN_TOKENS, flops / (each * steps * batch), 0.03 * FLAN_TOKENS, model);
  }

  /** T5 1.1 XXL from its dimensions (t5x, t5_1_1/xxl.gin), whose run is the 7.6e19 of table 2. */
  @Test
  void theRunOfFlanT5XxlFollowsFromItsDimensions() {
    double d = 4096;
    double ff = 10_240;
    double attention = 4 * d * 64 * 64;
    double layers = 24 * (attention + 3 * d * ff + 2 * attention + 3 * d * ff);
    double parameters = layers + 2 * 32_128 * d;
    assertEquals(11.1e9, parameters, 0.05e9);
    double flops = 14_000.0 * 64 * FLAN_TOKENS * RunCost.flopsByParameters(parameters, true);
    assertEquals(7.6e19, flops, 0.01 * 7.6e19);
  }

  /**
   * Touvron et al. 2023 (arXiv 2302.13971), table 2: batches of 4M tokens, 1.0T and 1.4T in all.
   */
  @Test
  void llamasRunsHaveThePapersTokens() {
    RunCost run = RunCost.of(250_000, 4e6, 6.9e9 * 6, 6.7e9, false);
    assertEquals(1.0e12, run.tokens(), 1e9);
    assertEquals(6 * 6.7e9 * 1e12, run.flopsByParameters(), 1e19);
    assertEquals(6.9 / 6.7, run.flops() / run.flopsByParameters(), 1e-9);
  }
}
