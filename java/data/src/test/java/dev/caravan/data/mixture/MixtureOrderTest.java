package dev.caravan.data.mixture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MixtureOrderTest {
  private static final int WINDOW = MixtureOrder.WINDOW;

  @Test
  void countsOfWholeWindowsAreThoseOfTheDraws() {
    Random random = new Random();
    for (int trial = 0; trial < 20; trial++) {
      int tasks = 1 + random.nextInt(9);
      double[] weights = random.doubles(tasks, 0.001, 1).toArray();
      if (tasks > 2) {
        weights[random.nextInt(tasks)] = 0;
      }
      long[] sizes = random.longs(tasks, 1, 500).toArray();
      MixtureOrder order =
          new MixtureOrder(Rates.normalise(weights, "w"), sizes, random.nextLong(), true);
      long[] seen = new long[tasks];
      for (int k = 0; k < 5 * WINDOW; k++) {
        if (k % WINDOW == 0) {
          for (int task = 0; task < tasks; task++) {
            assertEquals(seen[task], order.count(task, k), "task " + task + " before " + k);
          }
        }
        seen[order.at(k).task()]++;
      }
      for (int task = 0; task < tasks; task++) {
        assertEquals(weights[task] > 0, seen[task] > 0);
        assertEquals(weights[task] > 0, order.isDrawn(task));
      }
    }
  }

  @Test
  void everyVisitHasEveryRowOnce() {
    long[] sizes = {700, 33, 1};
    MixtureOrder order = new MixtureOrder(new double[] {0.7, 0.2, 0.1}, sizes, 5, true);
    long examples = 20L * WINDOW;
    Set<MixtureOrder.Draw> draws = new HashSet<>();
    for (long k = 0; k < examples; k++) {
      MixtureOrder.Draw draw = order.at(k);
      assertTrue(draw.row() >= 0 && draw.row() < sizes[draw.task()]);
      assertTrue(draws.add(draw), "twice: " + draw);
    }
    for (int task = 0; task < sizes.length; task++) {
      for (long n = 0; n < order.count(task, examples) / sizes[task] * sizes[task]; n++) {
        assertTrue(draws.contains(new MixtureOrder.Draw(task, n % sizes[task], n / sizes[task])));
      }
    }
  }

  @Test
  void windowsAreShuffledAndFarExamplesNeedNoReplay() {
    long[] sizes = {1000, 1000};
    MixtureOrder order = new MixtureOrder(new double[] {0.5, 0.5}, sizes, 11, true);
    int changes = 0;
    for (int k = 1; k < WINDOW; k++) {
      changes += order.at(k).task() == order.at(k - 1).task() ? 0 : 1;
    }
    // Unpermuted, the points of two equal tasks alternate.
    assertTrue(changes > WINDOW / 3 && changes < 2 * WINDOW / 3, changes + " changes");
    long far = (1L << 40) + 12345;
    assertEquals(order.at(far), new MixtureOrder(new double[] {0.5, 0.5}, sizes, 11, true).at(far));
    assertEquals(far / WINDOW * WINDOW / 2, order.count(0, far / WINDOW * WINDOW));
    assertThrows(IndexOutOfBoundsException.class, () -> order.at(-1));
  }

  @Test
  void withoutShufflingRowsComeInTheirOrder() {
    MixtureOrder order = new MixtureOrder(new double[] {1}, new long[] {3000}, 1, false);
    Set<Long> first = new HashSet<>();
    for (int k = 0; k < WINDOW; k++) {
      first.add(order.at(k).row());
    }
    assertEquals(WINDOW, first.size());
    assertTrue(first.stream().allMatch(row -> row < WINDOW));
  }

  /** Chi-square of a million draws with 11 degrees of freedom, against the 99.9 % quantile. */
  @ParameterizedTest
  @CsvSource({
    "Infinity, 1",
    "Infinity, 2",
    "Infinity, 3",
    "3000, 1",
    "3000, 2",
    "3000, 3",
    "50000, 1",
    "50000, 2",
    "50000, 3",
  })
  void aMillionDrawsKeepToTheRates(double cap, double temperature) {
    double[] rates = Rates.of(RatesTest.SIZES, 1, cap, temperature);
    MixtureOrder order = new MixtureOrder(rates, RatesTest.SIZES, 3, true);
    long[] seen = new long[rates.length];
    int draws = 1_000_000;
    for (int k = 0; k < draws; k++) {
      seen[order.at(k).task()]++;
    }
    double chiSquare = 0;
    for (int task = 0; task < rates.length; task++) {
      double expected = rates[task] * draws;
      chiSquare += (seen[task] - expected) * (seen[task] - expected) / expected;
    }
    assertTrue(chiSquare < 31.26, "chi-square " + chiSquare);
  }

  @Test
  void countsKeepWithinALogarithmOfTheRates() {
    double[] rates = Rates.of(RatesTest.SIZES, 1, Rates.NO_CAP, 3);
    MixtureOrder order = new MixtureOrder(rates, RatesTest.SIZES, 29, true);
    for (int task = 0; task < rates.length; task++) {
      for (long k : new long[] {1, 1000, 123_457, 1L << 40, (1L << 50) + 77}) {
        double off = Math.abs(order.count(task, k) - rates[task] * k);
        assertTrue(off < 60 + k * 1e-12, "task " + task + ", " + k + " examples: off by " + off);
      }
    }
  }

  @Test
  void tellsWhenATaskIsThrough() {
    MixtureOrder order = new MixtureOrder(new double[] {0.9, 0.1}, new long[] {10, 70}, 7, true);
    for (int task = 0; task < 2; task++) {
      long through = order.examplesUntil(task, 70);
      assertEquals(70, order.count(task, through));
      assertEquals(69, order.count(task, through - 1));
    }
    assertEquals(0, order.examplesUntil(0, 0));
  }
}
