package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Parameters of GLaM's published sizes against table 4 of arXiv 2112.06905, in billions.
 *
 * <p>The table's figures follow from ungated experts, gated dense layers, tied embeddings and
 * vocabularies of 32,000 (of 256,000 for the largest), but for four rows. Its 0.1B models have 7 million
 * parameters less than their dimensions give. 1.7B/32E would be 14 and not 20 billion: each expert adds
 * 0.40 billion over the 12 sparse layers, and the rows of 64, 128 and 256 experts agree with that. What
 * those dimensions give is what is asserted there, beside the paper's figure.
 */
class GlamSizesTest {
  @ParameterizedTest
  @CsvSource({
    // size, total as counted, active as counted, total in the paper, active in the paper, tolerance
    "1.7b,     1.68,  1.68,  1.7,  1.7,   0.02",
    "1.7b-64e, 26.8,  1.88,  27,   1.879, 0.02",
    "1.7b-128e, 52.6, 1.88,  53,   1.881, 0.02",
    "1.7b-256e, 104,  1.88,  105,  1.886, 0.02",
    "8b,       8.72,  8.72,  8.7,  8.7,   0.02",
    "8b-64e,   143,   9.80,  143,  9.8,   0.02",
    "137b,     138,   138,   137,  137,   0.02",
    "64b-64e,  1160,  96.6,  1200, 96.6,  0.04",
    "0.1b,     0.138, 0.138, 0.13, 0.13,  0.07",
    "0.1b-64e, 1.91,  0.152, 1.9,  0.145, 0.06",
    "1.7b-32e, 14.0,  1.88,  20,   1.878, 0.31",
  })
  void parametersAreThoseOfTheTable(
      String size, double total, double active, double itsTotal, double itsActive, double near) {
    LlamaCost cost = new LlamaCost(ModelSizes.config("glam", size).config());
    double counted = cost.parameters() / 1e9;
    double woken = cost.activeParameters() / 1e9;
    assertEquals(total, counted, 0.005 * total, size + ": total");
    assertEquals(active, woken, 0.005 * active, size + ": active");
    assertEquals(itsTotal, counted, near * itsTotal, size + ": total in the paper");
    assertEquals(itsActive, woken, near * itsActive, size + ": active in the paper");
  }
}
