package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

import java.util.Arrays;

/** Ops that move or add rows, in float64. */
final class RowReferences {
  private RowReferences() {}

  static double[][] add(Add op, Node node, double[][] in) {
    return new double[][] {sum(in[0], in[1])};
  }

  static double[] sum(double[] a, double[] b) {
    double[] out = new double[a.length];
    Arrays.setAll(out, i -> a[i] + b[i]);
    return out;
  }

  /** All ranks hold the same. */
  static double[][] allReduce(AllReduce op, Node node, double[][] in) {
    double[][] sums = new double[in.length][];
    for (int part = 0; part < in.length; part++) {
      sums[part] = Arrays.stream(in[part]).map(x -> op.ranks() * x).toArray();
    }
    return sums;
  }

  /** Of ranks that all have the same. */
  static double[][] sumParts(SumParts op, Node node, double[][] in) {
    return new double[][] {Arrays.stream(in[0]).map(x -> op.ranks() * x).toArray()};
  }

  static double[][] bias(Bias op, Node node, double[][] in) {
    int width = dim(node, 0, 1);
    double[] y = new double[in[0].length];
    Arrays.setAll(y, i -> in[0][i] + in[1][i % width]);
    return new double[][] {y};
  }

  static double[][] biasBackward(Bias.Backward op, Node node, double[][] in) {
    double[] dBias = in[1].clone();
    for (int i = 0; i < in[0].length; i++) {
      dBias[i % dBias.length] += in[0][i];
    }
    return new double[][] {dBias};
  }

  static double[][] embedding(Embedding op, Node node, double[][] in) {
    int width = dim(node, 1, 1);
    double[] out = new double[in[0].length * width];
    for (int t = 0; t < in[0].length; t++) {
      System.arraycopy(in[1], (int) in[0][t] * width, out, t * width, width);
    }
    return new double[][] {out};
  }

  static double[][] embeddingBackward(Embedding.Backward op, Node node, double[][] in) {
    int width = dim(node, 1, 1);
    double[] dTable = in[3].clone();
    for (int t = 0; t < (int) in[2][0]; t++) {
      for (int d = 0; d < width; d++) {
        dTable[(int) in[0][t] * width + d] += in[1][t * width + d];
      }
    }
    return new double[][] {dTable};
  }

  static double[][] gather(Gather op, Node node, double[][] in) {
    int width = dim(node, 0, 1);
    double[] out = new double[in[1].length * width];
    for (int i = 0; i < (int) in[2][0]; i++) {
      System.arraycopy(in[0], (int) in[1][i] * width, out, i * width, width);
    }
    return new double[][] {out};
  }

  static double[][] sumRows(SumRows op, Node node, double[][] in) {
    int width = dim(node, 0, 1);
    int each = dim(node, 1, 1);
    double[] out = new double[in[1].length / each * width];
    for (int i = 0; i < in[1].length; i++) {
      for (int d = 0; in[1][i] >= 0 && d < width; d++) {
        out[i / each * width + d] += in[0][(int) in[1][i] * width + d];
      }
    }
    return new double[][] {out};
  }

  /** Of each rank's experts in turn, the rows that have a slot, in the order of tokens. */
  static double[][] places(ExpertPlaces op, Node node, double[][] in) {
    int choices = dim(node, 0, 1);
    int share = (dim(node, 1, 0) - 1) / op.ranks();
    double[][] out = new double[4][(int) (op.ranks() * op.each())];
    out[3] = new double[in[0].length];
    Arrays.stream(out).forEach(each -> Arrays.fill(each, -1));
    int[] used = new int[op.ranks()];
    for (int expert = 0; expert < share * op.ranks(); expert++) {
      int rank = expert / share;
      for (int i = 0; i < in[0].length; i++) {
        if (in[0][i] == expert && in[3][i] >= 0 && used[rank] < op.each()) {
          int place = (int) (rank * op.each()) + used[rank]++;
          out[0][place] = i;
          out[1][place] = i / choices;
          out[2][place] = expert;
          out[3][i] = place;
        }
      }
    }
    return out;
  }

  static double[][] cacheAppend(CacheAppend op, Node node, double[][] in) {
    double[] cache = in[1].clone();
    int row = dim(node, 0, 1) * dim(node, 0, 2);
    System.arraycopy(in[0], 0, cache, (int) in[2][0] * row, in[0].length);
    return new double[][] {cache};
  }
}
