package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

/** The matrix product in float64. */
final class MatMulReference {
  private MatMulReference() {}

  static double[][] product(MatMul op, Node node, double[][] in) {
    int m = Math.toIntExact(node.out(0).dim(0));
    int n = Math.toIntExact(node.out(0).dim(1));
    int k = dim(node, 0, op.transposeA() ? 0 : 1);
    int used = op.limited() ? (int) in[2][0] : op.transposeA() ? k : m;
    double[] c = op.accumulate() ? in[op.limited() ? 3 : 2].clone() : new double[m * n];
    for (int row = 0; row < (op.transposeA() ? m : used); row++) {
      for (int column = 0; column < n; column++) {
        double sum = 0;
        for (int i = 0; i < (op.transposeA() ? used : k); i++) {
          double a = op.transposeA() ? in[0][i * m + row] : in[0][row * k + i];
          double b = op.transposeB() ? in[1][column * k + i] : in[1][i * n + column];
          sum += a * b;
        }
        c[row * n + column] += sum;
      }
    }
    return new double[][] {c};
  }
}
