package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Activation;
import dev.caravan.ops.RouterReference.Routes;

/** The experts of a layer and their gradients in float64, token by token and choice by choice. */
final class ExpertReference {
  private ExpertReference() {}

  /** What the two products of one assignment make. */
  private record Sizes(int tokens, int choices, int d, int width, int f) {
    static Sizes of(Node node, int x, int w2, int weights) {
      return new Sizes(
          dim(node, x, 0),
          dim(node, weights, 1),
          dim(node, x, 1),
          dim(node, w2 - 1, 1),
          dim(node, w2, 2));
    }
  }

  static double[][] forward(ExpertLayer op, Node node, double[][] in) {
    Sizes s = Sizes.of(node, 0, 2, 3);
    double[] y = new double[s.tokens * s.d];
    double[] h = new double[s.tokens * s.choices * s.width];
    Routes routes = new Routes(in[4], in[6]);
    for (int t = 0; t < s.tokens; t++) {
      for (int c = 0; c < s.choices; c++) {
        int row = routes.row(t * s.choices + c);
        if (row < 0) {
          continue;
        }
        int e = routes.expert(row);
        for (int n = 0; n < s.width; n++) {
          for (int i = 0; i < s.d; i++) {
            h[row * s.width + n] += in[1][(e * s.width + n) * s.d + i] * in[0][t * s.d + i];
          }
        }
        double[] act = act(op.activation(), h, row, s);
        for (int i = 0; i < s.d; i++) {
          double sum = 0;
          for (int f = 0; f < s.f; f++) {
            sum += in[2][(e * s.d + i) * s.f + f] * act[f];
          }
          y[t * s.d + i] += in[3][t * s.choices + c] * sum;
        }
      }
    }
    return new double[][] {y, h};
  }

  static double[][] backward(ExpertLayer.Backward op, Node node, double[][] in) {
    Sizes s = Sizes.of(node, 1, 3, 4);
    double[] dX = new double[in[1].length];
    double[] dWeights = new double[s.tokens * s.choices];
    double[] dW1 = in[9].clone();
    double[] dW2 = in[10].clone();
    double[] dH = new double[in[8].length];
    Routes routes = new Routes(in[5], in[7]);
    for (int a = 0; a < s.tokens * s.choices; a++) {
      int row = routes.row(a);
      if (row < 0) {
        continue;
      }
      int t = a / s.choices;
      int e = routes.expert(row);
      double[] act = act(op.activation(), in[8], row, s);
      double[] dAct = new double[s.f];
      for (int i = 0; i < s.d; i++) {
        double dY = in[0][t * s.d + i];
        for (int f = 0; f < s.f; f++) {
          int w = (e * s.d + i) * s.f + f;
          dWeights[row] += dY * in[3][w] * act[f];
          dAct[f] += in[4][a] * dY * in[3][w];
          dW2[w] += in[4][a] * dY * act[f];
        }
      }
      back(op.activation(), in[8], dAct, dH, row, s);
      for (int n = 0; n < s.width; n++) {
        for (int i = 0; i < s.d; i++) {
          int w = (e * s.width + n) * s.d + i;
          dX[t * s.d + i] += dH[row * s.width + n] * in[2][w];
          dW1[w] += dH[row * s.width + n] * in[1][t * s.d + i];
        }
      }
    }
    return new double[][] {dX, dWeights, dW1, dW2, dH};
  }

  private static double[] act(Activation activation, double[] h, int row, Sizes s) {
    double[] act = new double[s.f];
    for (int f = 0; f < s.f; f++) {
      double gate = h[row * s.width + f];
      double up = activation.gated() ? h[row * s.width + s.f + f] : 1;
      act[f] = up * (unit(activation) == null ? gate : GluReference.value(unit(activation), gate));
    }
    return act;
  }

  private static void back(
      Activation activation, double[] h, double[] dAct, double[] dH, int row, Sizes s) {
    Glu.Activation unit = unit(activation);
    for (int f = 0; f < s.f; f++) {
      int gate = row * s.width + f;
      double up = activation.gated() ? h[gate + s.f] : 1;
      dH[gate] = dAct[f] * up * (unit == null ? 1 : GluReference.slope(unit, h[gate]));
      if (activation.gated()) {
        dH[gate + s.f] = dAct[f] * GluReference.value(unit, h[gate]);
      }
    }
  }

  private static Glu.Activation unit(Activation activation) {
    return switch (activation) {
      case NONE -> null;
      case SWIGLU, SILU -> Glu.Activation.SILU;
      case GEGLU, GELU -> Glu.Activation.GELU;
      case GEGLU_TANH, GELU_TANH -> Glu.Activation.GELU_TANH;
    };
  }

  /** Writes the factors; the totals that it returns are what there was and what it adds. */
  static double[][] balance(Balance op, Node node, double[][] in) {
    int layers = dim(node, 0, 0);
    int experts = dim(node, 1, 1) - 1;
    int width = (int) Experts.stats(experts);
    double[] totals = in[3].clone();
    double allTokens = 0;
    double[] chosen = new double[experts];
    double[] probability = new double[experts];
    for (int l = 0; l < layers; l++) {
      allTokens += in[0][l * width + 3 * experts + 1];
      for (int e = 0; e < experts; e++) {
        chosen[e] += in[0][l * width + e];
        probability[e] += in[0][l * width + 2 * experts + e];
      }
    }
    for (int l = 0; l < layers; l++) {
      int at = l * width;
      double tokens = in[0][at + 3 * experts + 1];
      double share = tokens * in[4][References.INV_TOKENS];
      int sums = l * (experts + 3);
      double perToken = tokens == 0 ? 0 : share / tokens;
      for (int e = 0; e < experts; e++) {
        double f =
            switch (op.definition()) {
              case NONE -> 0;
              case FIRST -> in[0][at + experts + e] / tokens;
              case CHOSEN -> chosen[e] / allTokens;
            };
        // Over all layers the mean probability divides by their tokens together.
        double each = op.definition() == Experts.Balance.CHOSEN ? 1.0 / layers : 1;
        boolean any = tokens > 0 && op.definition() != Experts.Balance.NONE;
        in[1][l * (experts + 1) + e] = any ? op.weight() * experts * f * each * perToken : 0;
        totals[sums] +=
            any ? experts * f * each * in[0][at + 2 * experts + e] / tokens * share : 0;
        totals[sums + 3 + e] += in[0][at + e];
      }
      in[1][l * (experts + 1) + experts] = op.zWeight() * perToken;
      totals[sums + 1] += perToken * in[0][at + 3 * experts];
      totals[sums + 2] += tokens * op.choices() - in[2][l * (experts + 1) + experts];
    }
    return new double[][] {totals};
  }

  /** The weighted losses that totals hold. */
  static double loss(Balance op, Node node, double[] totals) {
    double sum = 0;
    for (int l = 0; l < dim(node, 0, 0); l++) {
      int first = l * (dim(node, 1, 1) + 2);
      sum += op.weight() * totals[first] + op.zWeight() * totals[first + 1];
    }
    return sum;
  }
}
