package dev.caravan.ops;

/** RMSNorm and its gradient in float64. */
final class RmsNormReference {
  private RmsNormReference() {}

  static double[][] forward(RmsNorm op, Node node, double[][] in) {
    double[] h = op.fused() ? RowReferences.sum(in[0], in[2]) : in[0];
    double[] weight = in[1];
    int width = weight.length;
    double[] y = new double[h.length];
    double[] rstd = new double[h.length / width];
    for (int row = 0; row < rstd.length; row++) {
      double squares = 0;
      for (int i = 0; i < width; i++) {
        squares += h[row * width + i] * h[row * width + i];
      }
      rstd[row] = 1 / Math.sqrt(squares / width + op.eps());
      for (int i = 0; i < width; i++) {
        y[row * width + i] = h[row * width + i] * rstd[row] * weight[i];
      }
    }
    return op.fused() ? new double[][] {y, rstd, h} : new double[][] {y, rstd};
  }

  static double[][] backward(RmsNorm.Backward op, Node node, double[][] in) {
    double[] dY = in[0];
    double[] h = in[1];
    double[] weight = in[2];
    double[] rstd = in[3];
    double[] dWeight = in[4].clone();
    double[] dH = op.adds() ? in[5].clone() : new double[h.length];
    int width = weight.length;
    for (int row = 0; row < rstd.length; row++) {
      double mean = 0;
      for (int i = 0; i < width; i++) {
        int at = row * width + i;
        double normed = h[at] * rstd[row];
        mean += dY[at] * weight[i] * normed / width;
        dWeight[i] += dY[at] * normed;
      }
      for (int i = 0; i < width; i++) {
        int at = row * width + i;
        dH[at] += rstd[row] * (dY[at] * weight[i] - h[at] * rstd[row] * mean);
      }
    }
    return new double[][] {dH, dWeight};
  }
}
