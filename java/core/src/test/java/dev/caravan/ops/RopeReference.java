package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

/** The rotary embedding in float64. */
final class RopeReference {
  private RopeReference() {}

  static double[][] turn(Rope op, Node node, double[][] in) {
    int heads = dim(node, 0, 1);
    int width = dim(node, 0, 2);
    int half = dim(node, 2, 1);
    double[] y = in[0].clone();
    for (int row = 0; row < in[0].length / width; row++) {
      int position = (int) in[1][row / heads];
      for (int i = 0; i < half; i++) {
        int a = row * width + (op.interleaved() ? 2 * i : i);
        int b = op.interleaved() ? a + 1 : a + half;
        double cos = in[2][position * half + i];
        double sin = (op.reverse() ? -1 : 1) * in[3][position * half + i];
        y[a] = in[0][a] * cos - in[0][b] * sin;
        y[b] = in[0][a] * sin + in[0][b] * cos;
      }
    }
    return new double[][] {y};
  }
}
