package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

import java.util.Arrays;

/** The output projection with cross-entropy in float64: logits whole, row by row. */
final class LinearCrossEntropyReference {
  private LinearCrossEntropyReference() {}

  static double[][] loss(LinearCrossEntropy op, Node node, double[][] in) {
    return new double[][] {nll(node, in, null, null)};
  }

  static double[][] gradient(LinearCrossEntropy.Gradient op, Node node, double[][] in) {
    double[] dHidden = new double[in[0].length];
    double[] dWeight = in[6].clone();
    double[] nll = nll(node, in, dHidden, dWeight);
    return new double[][] {nll, dHidden, dWeight};
  }

  /** Rows of the result that are not in use stay NaN: nothing may read them. */
  private static double[] nll(Node node, double[][] in, double[] dHidden, double[] dWeight) {
    double[] hidden = in[0];
    double[] weight = in[1];
    double[] state = in[5];
    int vocabulary = dim(node, 1, 0);
    int width = dim(node, 1, 1);
    double[] nll = new double[in[3].length];
    Arrays.fill(nll, Double.NaN);
    double[] logits = new double[vocabulary];
    for (int i = 0; i < (int) in[4][0]; i++) {
      int row = (int) in[2][i] * width;
      int target = (int) in[3][i];
      double most = Double.NEGATIVE_INFINITY;
      for (int v = 0; v < vocabulary; v++) {
        logits[v] = 0;
        for (int d = 0; d < width; d++) {
          logits[v] += hidden[row + d] * weight[v * width + d];
        }
        most = Math.max(most, logits[v]);
      }
      double sum = 0;
      for (double logit : logits) {
        sum += Math.exp(logit - most);
      }
      nll[i] = most + Math.log(sum) - logits[target];
      state[References.LOSS_SUM] += nll[i];
      if (dHidden == null) {
        continue;
      }
      for (int v = 0; v < vocabulary; v++) {
        double share = Math.exp(logits[v] - most) / sum - (v == target ? 1 : 0);
        double d = share * state[References.INV_TARGETS];
        for (int j = 0; j < width; j++) {
          dHidden[row + j] += d * weight[v * width + j];
          dWeight[v * width + j] += d * hidden[row + j];
        }
      }
    }
    return nll;
  }
}
