package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

import dev.caravan.kernels.Attention.Options;
import java.util.Arrays;
import java.util.Objects;
import java.util.stream.Stream;

/** Attention over packed documents and its gradient in float64, one score at a time. */
final class AttentionReference {
  private final Options options;
  private final int heads;
  private final int kvHeads;
  private final int width;
  private final int valueWidth;
  private final double[] q;
  private final double[] k;
  private final double[] v;
  private final double[] cuQ;
  private final double[] cuK;
  private final double[] table;
  private final double[] sinks;

  /** What is done with one query row of one head. */
  private interface Row {
    /**
     * Keys {@code first} to {@code end} are in the document; the query stands at {@code position}.
     */
    void visit(int head, int query, int position, int first, int end);
  }

  private AttentionReference(
      Options options,
      Node node,
      double[][] in,
      int firstInput,
      double[] table,
      double[] sinks) {
    this.options = options;
    this.table = table;
    this.sinks = sinks;
    heads = dim(node, firstInput, 1);
    width = dim(node, firstInput, 2);
    kvHeads = dim(node, firstInput + 2, 1);
    valueWidth = dim(node, firstInput + 2, 2);
    q = in[firstInput];
    k = in[firstInput + 1];
    v = in[firstInput + 2];
    cuQ = in[firstInput + 3];
    cuK = in[firstInput + 4];
  }

  static double[][] forward(Attention op, Node node, double[][] in) {
    double[] table = op.biased() ? in[5] : null;
    double[] sinks = op.sinking() ? in[op.biased() ? 6 : 5] : null;
    return new AttentionReference(op.options(), node, in, 0, table, sinks).forward();
  }

  static double[][] backward(Attention.Backward op, Node node, double[][] in) {
    double[] table = op.biased() ? in[8] : null;
    int sinksInput = op.biased() ? 10 : 8;
    double[] sinks = op.sinking() ? in[sinksInput] : null;
    return new AttentionReference(op.options(), node, in, 1, table, sinks)
        .backward(
            in[0],
            in[6],
            in[7],
            op.biased() ? in[9].clone() : null,
            op.sinking() ? in[sinksInput + 1].clone() : null);
  }

  private double[][] forward() {
    int rows = q.length / (heads * width);
    double[] out = new double[rows * heads * valueWidth];
    double[] lse = new double[heads * rows];
    Arrays.fill(lse, Double.NEGATIVE_INFINITY);
    eachRow(
        (head, query, position, first, end) -> {
          double sum = 0;
          double most = Double.NEGATIVE_INFINITY;
          for (int key = first; key < end; key++) {
            if (seen(position, key - first)) {
              most = Math.max(most, score(head, query, position, key, key - first));
            }
          }
          for (int key = first; key < end; key++) {
            if (seen(position, key - first)) {
              sum += Math.exp(score(head, query, position, key, key - first) - most);
            }
          }
          if (sum == 0) {
            return;
          }
          if (sinks != null) {
            sum += Math.exp(sinks[head] - most);
          }
          lse[head * rows + query] = most + Math.log(sum);
          for (int key = first; key < end; key++) {
            if (seen(position, key - first)) {
              double share = Math.exp(score(head, query, position, key, key - first) - most) / sum;
              for (int i = 0; i < valueWidth; i++) {
                out[(query * heads + head) * valueWidth + i] += share * v[value(head, key) + i];
              }
            }
          }
        });
    return new double[][] {out, lse};
  }

  private double[][] backward(
      double[] dOut, double[] out, double[] lse, double[] dTable, double[] dSinks) {
    int rows = q.length / (heads * width);
    double[] dQ = new double[q.length];
    double[] dK = new double[k.length];
    double[] dV = new double[v.length];
    eachRow(
        (head, query, position, first, end) -> {
          int row = (query * heads + head) * valueWidth;
          double mean = 0;
          for (int i = 0; i < valueWidth; i++) {
            mean += dOut[row + i] * out[row + i];
          }
          if (dSinks != null && lse[head * rows + query] != Double.NEGATIVE_INFINITY) {
            dSinks[head] -= Math.exp(sinks[head] - lse[head * rows + query]) * mean;
          }
          for (int key = first; key < end; key++) {
            int place = key - first;
            if (!seen(position, place)) {
              continue;
            }
            double share =
                Math.exp(score(head, query, position, key, place) - lse[head * rows + query]);
            double dShare = 0;
            for (int i = 0; i < valueWidth; i++) {
              dV[value(head, key) + i] += share * dOut[row + i];
              dShare += dOut[row + i] * v[value(head, key) + i];
            }
            double dScore = share * (dShare - mean);
            if (dTable != null) {
              dTable[bucket(place - position) * heads + head] += dScore;
            }
            double dDot = dScore * capSlope(dot(head, query, key)) * options.scale();
            int queryRow = (query * heads + head) * width;
            for (int i = 0; i < width; i++) {
              dQ[queryRow + i] += dDot * k[keyRow(head, key) + i];
              dK[keyRow(head, key) + i] += dDot * q[queryRow + i];
            }
          }
        });
    return Stream.of(dQ, dK, dV, dTable, dSinks).filter(Objects::nonNull).toArray(double[][]::new);
  }

  private void eachRow(Row row) {
    for (int document = 0; document + 1 < cuQ.length; document++) {
      int firstQuery = (int) cuQ[document];
      int endQuery = (int) cuQ[document + 1];
      int first = (int) cuK[document];
      int end = (int) cuK[document + 1];
      int behind = (end - first) - (endQuery - firstQuery);
      for (int query = firstQuery; query < endQuery; query++) {
        for (int head = 0; head < heads; head++) {
          row.visit(head, query, query - firstQuery + behind, first, end);
        }
      }
    }
  }

  private boolean seen(int position, int key) {
    return (!options.causal() || key <= position)
        && (options.windowLeft() < 0 || position - key <= options.windowLeft())
        && (options.windowRight() < 0 || key - position <= options.windowRight());
  }

  private double score(int head, int query, int position, int key, int place) {
    double dot = options.scale() * dot(head, query, key);
    double capped =
        options.softCap() == 0 ? dot : options.softCap() * Math.tanh(dot / options.softCap());
    return table == null ? capped : capped + table[bucket(place - position) * heads + head];
  }

  private double capSlope(double dot) {
    if (options.softCap() == 0) {
      return 1;
    }
    double tanh = Math.tanh(options.scale() * dot / options.softCap());
    return 1 - tanh * tanh;
  }

  private double dot(int head, int query, int key) {
    double sum = 0;
    for (int i = 0; i < width; i++) {
      sum += q[(query * heads + head) * width + i] * k[keyRow(head, key) + i];
    }
    return sum;
  }

  private int keyRow(int head, int key) {
    return (key * kvHeads + head / (heads / kvHeads)) * width;
  }

  private int value(int head, int key) {
    return (key * kvHeads + head / (heads / kvHeads)) * valueWidth;
  }

  /** Raffel et al. 2020, arXiv 1910.10683, section 2.1; {@code distance} is key minus query. */
  private int bucket(int distance) {
    int buckets = table.length / heads;
    int from = 0;
    int far = Math.max(-distance, 0);
    if (options.biasBidirectional()) {
      buckets /= 2;
      from = distance > 0 ? buckets : 0;
      far = Math.abs(distance);
    }
    int exact = buckets / 2;
    if (far < exact) {
      return from + far;
    }
    double steps =
        Math.log((double) far / exact)
            / Math.log((double) options.biasMaxDistance() / exact)
            * (buckets - exact);
    return from + Math.min(exact + (int) steps, buckets - 1);
  }
}
