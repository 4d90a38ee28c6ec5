package dev.caravan.ops;

import dev.caravan.ops.Glu.Activation;

/** Gated units and their gradients in float64. */
final class GluReference {
  private static final double ROOT_2_OVER_PI = Math.sqrt(2 / Math.PI);
  private static final double CUBIC = 0.044715;

  private GluReference() {}

  static double[][] forward(Glu op, Node node, double[][] in) {
    double[] out = new double[in[0].length];
    for (int i = 0; i < out.length; i++) {
      out[i] = value(op.activation(), in[0][i]) * in[1][i];
    }
    return new double[][] {out};
  }

  static double[][] backward(Glu.Backward op, Node node, double[][] in) {
    double[] dGate = new double[in[0].length];
    double[] dUp = new double[in[0].length];
    for (int i = 0; i < dGate.length; i++) {
      dGate[i] = in[0][i] * in[2][i] * slope(op.activation(), in[1][i]);
      dUp[i] = in[0][i] * value(op.activation(), in[1][i]);
    }
    return new double[][] {dGate, dUp};
  }

  static double value(Activation activation, double x) {
    return switch (activation) {
      case SILU -> x / (1 + Math.exp(-x));
      case GELU -> x * normal(x);
      case GELU_TANH -> 0.5 * x * (1 + Math.tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x)));
    };
  }

  static double slope(Activation activation, double x) {
    return switch (activation) {
      case SILU -> {
        double s = 1 / (1 + Math.exp(-x));
        yield s + x * s * (1 - s);
      }
      case GELU -> normal(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
      case GELU_TANH -> {
        double t = Math.tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x));
        yield 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
      }
    };
  }

  /** The normal distribution function. */
  private static double normal(double x) {
    return 0.5 * (1 + erf(x / Math.sqrt(2)));
  }

  /**
   * The error function by its series with positive terms only, which loses no digits: Abramowitz
   * and Stegun 1964, 7.1.6.
   */
  private static double erf(double x) {
    if (Math.abs(x) > 6) {
      return Math.signum(x); // 1 - erf(6) is 2e-17
    }
    double term = x;
    double sum = 0;
    for (int n = 0; sum + term != sum; n++) {
      sum += term;
      term *= 2 * x * x / (2 * n + 3);
    }
    return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
  }
}
