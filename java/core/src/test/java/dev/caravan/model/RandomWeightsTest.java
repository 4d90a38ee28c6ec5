package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class RandomWeightsTest {
  private static final int COUNT = 200_001;

  private static float[] fill(String name, long seed, long first, int count) {
    float[] out = new float[count];
    Arrays.fill(out, Float.NaN);
    WeightSpec spec = new WeightSpec(name, List.of((long) COUNT), WeightSpec.Init.NORMAL);
    RandomWeights.fill(spec, seed, 0.02, first, out);
    return out;
  }

  @Test
  void normalValuesHaveTheMomentsOfANormalDistribution() {
    float[] values = fill("a", 5, 0, COUNT);
    double sum = 0;
    double squares = 0;
    double fourths = 0;
    double neighbours = 0;
    for (int i = 0; i < COUNT; i++) {
      double z = values[i] / 0.02;
      sum += z;
      squares += z * z;
      fourths += z * z * z * z;
      neighbours += i == 0 ? 0 : z * values[i - 1] / 0.02;
    }
    // Five standard errors of each estimate.
    double error = 5 / Math.sqrt(COUNT);
    assertEquals(0, sum / COUNT, error);
    assertEquals(1, squares / COUNT, error * Math.sqrt(2));
    assertEquals(3, fourths / COUNT, error * Math.sqrt(96));
    assertEquals(0, neighbours / COUNT, error);
  }

  @Test
  void anyWindowHoldsTheSameValues() {
    float[] whole = fill("a", 5, 0, COUNT);
    for (int first : new int[] {0, 1, 2, 777, COUNT - 17}) {
      for (int count : new int[] {1, 2, 3, 16, 17}) {
        assertArrayEquals(
            Arrays.copyOfRange(whole, first, first + count), fill("a", 5, first, count));
      }
    }
  }

  @Test
  void seedsAndNamesGiveDifferentValues() {
    assertFalse(Arrays.equals(fill("a", 5, 0, 8), fill("a", 6, 0, 8)));
    assertFalse(Arrays.equals(fill("a", 5, 0, 8), fill("b", 5, 0, 8)));
  }

  @Test
  void normsStartAtOneAndBiasesAtZero() {
    float[] out = {9, 9, 9};
    RandomWeights.fill(new WeightSpec("n", List.of(3L), WeightSpec.Init.ONES), 1, 0.02, 0, out);
    assertArrayEquals(new float[] {1, 1, 1}, out);
    RandomWeights.fill(new WeightSpec("b", List.of(3L), WeightSpec.Init.ZEROS), 1, 0.02, 0, out);
    assertArrayEquals(new float[] {0, 0, 0}, out);
  }
}
