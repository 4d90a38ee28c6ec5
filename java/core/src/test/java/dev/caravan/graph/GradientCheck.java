package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.List;
import java.util.Random;

/**
 * Compares the gradients that a differentiated graph gives in float64 with finite differences of
 * the forward graph.
 *
 * <p>The differences are central and of fourth order, {@code (8 (f(h) - f(-h)) - (f(2h) - f(-2h)))
 * / 12h}. With h = 3e-4 they are off by h^4 / 30, 3e-16, times the fifth derivative, and by 1.5 eps
 * / h, 6e-13, times the loss. For losses of a few units and fifth derivatives up to a hundred
 * thousand, as norms of small rows have them, both stay below 1e-10. So a tolerance of 1e-8 of the
 * tensor's largest gradient leaves a margin and still sees the smallest slip in a formula.
 */
final class GradientCheck {
  private static final double STEP = 3e-4;
  private static final double RELATIVE = 1e-8;
  private static final double ABSOLUTE = 1e-10;

  /**
   * Elements that are looked at one by one in a tensor; all the others are, too, along a direction.
   */
  private static final int ELEMENTS = 16;

  private GradientCheck() {}

  /** Checks all weights of a graph that ends with its loss. */
  public static void check(Graph forward, Values values, Random random) {
    check(forward, Autodiff.differentiate(forward), values, random);
  }

  /** Checks a graph that was made of {@code forward} by autodiff and other passes. */
  public static void check(Graph forward, Graph differentiated, Values values, Random random) {
    Values after = values.copy();
    ReferenceExecutor backward = new ReferenceExecutor(differentiated, after).run();
    List<Tensor> parameters = forward.leaves(Role.PARAMETER);
    assertTrue(!parameters.isEmpty(), "no weight to check");
    for (Tensor parameter : parameters) {
      double[] gradient = backward.gradient(parameter.name());
      double largest = largest(gradient);
      double[] weights = values.get(parameter.name());
      for (int n = 0; n < Math.min(ELEMENTS, weights.length); n++) {
        int i = weights.length <= ELEMENTS ? n : random.nextInt(weights.length);
        double[] direction = new double[weights.length];
        direction[i] = 1;
        assertEquals(
            difference(forward, values, parameter, direction),
            gradient[i],
            RELATIVE * largest + ABSOLUTE,
            parameter.name() + "[" + i + "]");
      }
      double[] direction = new double[weights.length];
      double slope = 0;
      for (int i = 0; i < direction.length; i++) {
        direction[i] = random.nextGaussian() / Math.sqrt(direction.length);
        slope += direction[i] * gradient[i];
      }
      assertEquals(
          difference(forward, values, parameter, direction),
          slope,
          RELATIVE * largest * Math.sqrt(direction.length) + ABSOLUTE,
          parameter.name() + " along a random direction");
    }
  }

  private static double largest(double[] values) {
    double largest = 0;
    for (double value : values) {
      assertTrue(Double.isFinite(value), "a gradient is not finite");
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  private static double difference(
      Graph forward, Values values, Tensor parameter, double[] direction) {
    double near =
        loss(forward, values, parameter, direction, STEP)
            - loss(forward, values, parameter, direction, -STEP);
    double far =
        loss(forward, values, parameter, direction, 2 * STEP)
            - loss(forward, values, parameter, direction, -2 * STEP);
    return (8 * near - far) / (12 * STEP);
  }

  private static double loss(
      Graph forward, Values values, Tensor parameter, double[] direction, double step) {
    Values moved = values.copy();
    double[] weights = moved.get(parameter.name());
    for (int i = 0; i < weights.length; i++) {
      weights[i] += step * direction[i];
    }
    return new ReferenceExecutor(forward, moved).run().loss();
  }
}
