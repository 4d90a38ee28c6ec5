package dev.caravan.data.mixture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class RatesTest {
  /** Sizes of sst2, imdb, mnli, snli, squad, triviaqa, cnn, en-de, en-fr, gsm8k, aqua, csqa. */
  static final long[] SIZES = {
    67_000, 25_000, 393_000, 550_000, 87_000, 95_000, 287_000, 4_500_000, 36_000_000, 7_500, 97_000,
    9_700
  };

  private static final MathContext EXACT = new MathContext(50);

  /** min(n, cap)^(1/T) / sum with 50 digits; roots by Newton's iteration. */
  private static double[] expected(long[] sizes, double cap, int temperature) {
    BigDecimal[] weights = new BigDecimal[sizes.length];
    BigDecimal sum = BigDecimal.ZERO;
    for (int i = 0; i < sizes.length; i++) {
      weights[i] = root(BigDecimal.valueOf((long) Math.min(sizes[i], cap)), temperature);
      sum = sum.add(weights[i]);
    }
    double[] rates = new double[sizes.length];
    for (int i = 0; i < sizes.length; i++) {
      rates[i] = weights[i].divide(sum, EXACT).doubleValue();
    }
    return rates;
  }

  private static BigDecimal root(BigDecimal value, int degree) {
    if (degree == 1) {
      return value;
    }
    BigDecimal x = BigDecimal.valueOf(Math.pow(value.doubleValue(), 1.0 / degree));
    for (int i = 0; i < 4; i++) {
      BigDecimal power = x.pow(degree - 1, EXACT);
      x =
          x.multiply(BigDecimal.valueOf(degree - 1), EXACT)
              .add(value.divide(power, EXACT))
              .divide(BigDecimal.valueOf(degree), EXACT);
    }
    return x;
  }

  @Test
  void ratesAreTheFormulas() {
    for (double cap : new double[] {Rates.NO_CAP, 3_000, 50_000, 30_000, 20_000, 100_000, 5_000}) {
      for (int temperature = 1; temperature <= 3; temperature++) {
        double[] rates = Rates.of(SIZES, 1, cap, temperature);
        assertArrayEquals(expected(SIZES, cap, temperature), rates, 1e-12);
        assertEquals(1, Arrays.stream(rates).sum(), 1e-12);
      }
    }
    assertArrayEquals(expected(SIZES, Rates.NO_CAP, 1), Rates.proportional(SIZES), 1e-12);
    assertArrayEquals(Rates.of(SIZES, 1, 3_000, 2), Rates.of(SIZES, 2, 6_000, 2), 1e-12);
  }

  @Test
  void mixturesOfMixturesAreNormalisedAtEveryLevel() {
    Rates.Mix inner =
        new Rates.Mix(
            "inner", List.of(new Rates.Leaf(0), new Rates.Leaf(1)), new double[] {30_000, 10_000});
    Rates.Mix outer =
        new Rates.Mix(
            "outer",
            List.of(inner, new Rates.Leaf(2), new Rates.Leaf(1)),
            new double[] {46.0, 27.9, 26.1});
    double[] rates = Rates.flatten(outer, 4);
    assertArrayEquals(new double[] {0.345, 0.115 + 0.261, 0.279, 0}, rates, 1e-12);
  }

  @Test
  void refusesWhatIsNoWeight() {
    for (double bad : new double[] {-1, Double.NaN, Double.POSITIVE_INFINITY}) {
      assertThrows(UserError.class, () -> Rates.normalise(new double[] {1, bad}, "rates"));
    }
    UserError zero =
        assertThrows(UserError.class, () -> Rates.normalise(new double[] {0, 0}, "mixtures.a"));
    assertTrue(zero.getMessage().contains("mixtures.a: every weight is 0"), zero.getMessage());
    for (double bad : new double[] {-1, 0, Double.NaN}) {
      assertThrows(UserError.class, () -> Rates.of(SIZES, 1, bad, 1));
      assertThrows(UserError.class, () -> Rates.of(SIZES, 1, Rates.NO_CAP, bad));
    }
  }
}
