package dev.caravan.ops;

/** RMSNorm and its gradient in float64, of whole rows and of parts of them. */
final class RmsNormReference {
  private RmsNormReference() {}

  static double[][] forward(RmsNorm op, Node node, double[][] in) {
    double[] h = op.fused() ? RowReferences.sum(in[0], in[2]) : in[0];
    int width = in[1].length;
    double[][] made = normalised(h, in[1], dots(h, h, null, width), width, op.eps());
    return op.fused() ? new double[][] {made[0], made[1], h} : made;
  }

  static double[][] forwardOfPart(RmsNormPart op, Node node, double[][] in) {
    return normalised(in[0], in[1], in[2], op.ranks() * in[1].length, op.eps());
  }

  static double[][] backward(RmsNorm.Backward op, Node node, double[][] in) {
    double[] arrived = op.adds() ? in[5] : new double[in[1].length];
    int width = in[2].length;
    return gradients(in, dots(in[0], in[1], in[2], width), width, arrived);
  }

  static double[][] backwardOfPart(RmsNormPart.Backward op, Node node, double[][] in) {
    double[] arrived = op.adds() ? in[6] : new double[in[1].length];
    return gradients(in, in[5], op.ranks() * in[2].length, arrived);
  }

  static double[][] dots(RowDot op, Node node, double[][] in) {
    int width = Math.toIntExact(node.in(0).dim(-1));
    return new double[][] {dots(in[0], in[1], in.length > 2 ? in[2] : null, width)};
  }

  private static double[] dots(double[] a, double[] b, double[] weight, int width) {
    double[] sums = new double[a.length / width];
    for (int at = 0; at < a.length; at++) {
      sums[at / width] += a[at] * b[at] * (weight == null ? 1 : weight[at % width]);
    }
    return sums;
  }

  /** Over rows of {@code whole} elements, of which there are as many as the weight has. */
  private static double[][] normalised(
      double[] h, double[] weight, double[] squares, int whole, double eps) {
    int width = weight.length;
    double[] y = new double[h.length];
    double[] rstd = new double[squares.length];
    for (int row = 0; row < rstd.length; row++) {
      rstd[row] = 1 / Math.sqrt(squares[row] / whole + eps);
      for (int i = 0; i < width; i++) {
        y[row * width + i] = h[row * width + i] * rstd[row] * weight[i];
      }
    }
    return new double[][] {y, rstd};
  }

  /** Of what begins with d_y, h, weight, rstd, d_weight. */
  private static double[][] gradients(
      double[][] in, double[] dots, int whole, double[] arrived) {
    double[] dY = in[0];
    double[] h = in[1];
    double[] weight = in[2];
    double[] rstd = in[3];
    double[] dWeight = in[4].clone();
    double[] dH = arrived.clone();
    int width = weight.length;
    for (int row = 0; row < rstd.length; row++) {
      double mean = dots[row] * rstd[row] / whole;
      for (int i = 0; i < width; i++) {
        int at = row * width + i;
        double normed = h[at] * rstd[row];
        dWeight[i] += dY[at] * normed;
        dH[at] += rstd[row] * (dY[at] * weight[i] - normed * mean);
      }
    }
    return new double[][] {dH, dWeight};
  }
}
