package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.nn.Inputs;
import dev.caravan.ops.References;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.HashMap;
import java.util.Map;

/**
 * Compares what the real executor computes with the reference, in units of each tensor's largest
 * value.
 */
final class Agreement {
  /**
   * What goes into these graphs is of order one. A tensor that is far smaller is a difference of
   * larger numbers (the gradient of a lone key is exactly zero), whose roundings remain.
   */
  private static final double SMALL = 0.01;

  private Agreement() {}

  /**
   * The bound for one op between a handful of others. float32: sums of up to 40 products, whose
   * roundings of 2^-24 add up like independent ones to some six, through up to four ops. bfloat16:
   * every stored tensor is off by 2^-9 of itself, and four lie on the way of a gradient. That is a bound for
   * sums of which no term stands out; see {@link #checkStored} for the others.
   */
  static double ofOneOp(DType storage) {
    return storage == DType.F32 ? 32 * 0x1p-24 : 4 * 0x1p-9;
  }

  /**
   * The bound for a whole model. Of three blocks with fifteen stored tensors each, some fifty
   * independent roundings add up to seven, and soft-max and norms magnify them about twice; in
   * float32 the sums inside the ops, of up to two hundred products, weigh more than what is stored,
   * eight times.
   */
  static double ofAModel(DType storage) {
    return storage == DType.F32 ? 128 * 0x1p-24 : 16 * 0x1p-9;
  }

  /**
   * Runs a graph both ways and compares its results, gradients and loss.
   *
   * @param values of all leaves; not changed
   */
  static void check(Graph graph, Values values, double tolerance) {
    check(graph, values, tolerance, Map.of());
  }

  /**
   * The same where an error may also be twice that of a plain implementation at the same precision, if that
   * is more: two large terms of a sum that cancel, say of an expert's few rows, leave their roundings behind.
   * Of the 480 gradients of {@link ExpertCases#groups} over 60 seeds, 7 are off by more than {@link #ofOneOp},
   * by 0.016 of their largest value at most; in 4 of them the plain implementation is off by just as much.
   */
  static void checkStored(Graph graph, Values values, double tolerance) {
    Values exact = values.copy();
    Values stored = values.copy();
    ReferenceExecutor reference = new ReferenceExecutor(graph, exact).run();
    ReferenceExecutor plain = ReferenceExecutor.plain(graph, stored).run();
    Map<String, Double> errors = new HashMap<>();
    for (Tensor result : graph.results()) {
      errors.put(result.name(), error(reference.value(result), plain.value(result)));
    }
    for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
      String name = gradient.name();
      errors.put(name, error(exact.get(name), stored.get(name)));
    }
    check(graph, values, tolerance, errors);
  }

  private static double error(double[] expected, double[] actual) {
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      if (!Double.isNaN(expected[i])) {
        largest = Math.max(largest, Math.abs(expected[i] - actual[i]));
      }
    }
    return largest;
  }

  private static void check(
      Graph graph, Values values, double tolerance, Map<String, Double> plain) {
    Values after = values.copy();
    ReferenceExecutor reference = new ReferenceExecutor(graph, after).run();
    try (DeviceRun run = DeviceRun.of(graph, values, 2)) {
      for (Tensor result : graph.results()) {
        double also = 2 * plain.getOrDefault(result.name(), 0.0);
        close(reference.value(result), run.value(result), tolerance, also, result.name());
      }
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        String name = gradient.name();
        double also = 2 * plain.getOrDefault(name, 0.0);
        close(after.get(name), run.value(gradient), tolerance, also, name);
      }
      if (after.has(Inputs.STATE)) {
        double loss = after.get(Inputs.STATE)[References.LOSS_SUM];
        assertEquals(loss, run.lossSum(), tolerance * Math.max(1, Math.abs(loss)), "loss");
      }
    }
  }

  /** Expected values that are NaN are left open: rows that no target uses. */
  static void close(double[] expected, double[] actual, double tolerance, String name) {
    close(expected, actual, tolerance, 0, name);
  }

  private static void close(
      double[] expected, double[] actual, double tolerance, double also, String name) {
    assertEquals(expected.length, actual.length, name);
    double largest = SMALL;
    for (double value : expected) {
      largest = Double.isNaN(value) ? largest : Math.max(largest, Math.abs(value));
    }
    double most = Math.max(tolerance * largest, also);
    for (int i = 0; i < expected.length; i++) {
      if (!Double.isNaN(expected[i])) {
        double error = Math.abs(expected[i] - actual[i]);
        assertTrue(
            error <= most,
            "%s[%d]: got %g, needs %g; off by %.2g of the largest, at most %.2g"
                .formatted(name, i, actual[i], expected[i], error / largest, most / largest));
      }
    }
  }
}
