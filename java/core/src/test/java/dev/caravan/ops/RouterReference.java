package dev.caravan.ops;

import static dev.caravan.ops.References.dim;

import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Scoring;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/** The router and its gradient in float64, with choices sorted by expert in plain loops. */
final class RouterReference {
  private RouterReference() {}

  /** Where assignments lie among the experts' rows. */
  record Routes(double[] offsets, double[] slots) {
    /** The row of an assignment; negative where it has none. */
    int row(int assignment) {
      return (int) slots[assignment];
    }

    /** The expert of a row. */
    int expert(int row) {
      int e = 0;
      while (offsets[e + 1] <= row) {
        e++;
      }
      return e;
    }
  }

  static double[][] forward(Router op, Node node, double[][] in) {
    int tokens = dim(node, 0, 0);
    int experts = dim(node, 0, 1);
    int choices = op.choices();
    double[] weights = new double[tokens * choices];
    double[] chosen = new double[tokens * choices];
    Arrays.fill(chosen, -1);
    double[] stats = new double[(int) Experts.stats(experts)];
    for (int t = 0; t < (int) in[1][0]; t++) {
      double[] logits = Arrays.copyOfRange(in[0], t * experts, (t + 1) * experts);
      double[] p = scores(op.scoring(), logits);
      int[] order =
          IntStream.range(0, experts)
              .boxed()
              .sorted(Comparator.comparingDouble((Integer e) -> -p[e]).thenComparing(e -> e))
              .mapToInt(e -> e)
              .toArray();
      double sum = 0;
      for (int c = 0; c < choices; c++) {
        sum += p[order[c]];
      }
      for (int c = 0; c < choices; c++) {
        chosen[t * choices + c] = order[c];
        weights[t * choices + c] = p[order[c]] / (op.renormalise() ? sum : 1);
        stats[order[c]]++;
      }
      stats[experts + order[0]]++;
      double all = Arrays.stream(p).sum();
      for (int e = 0; e < experts; e++) {
        stats[2 * experts + e] += p[e] / all;
      }
      stats[3 * experts] += Math.pow(logSum(logits), 2);
      stats[3 * experts + 1]++;
    }
    double[] offsets = new double[experts + 1];
    double[] assignments = new double[tokens * choices];
    double[] slots = new double[tokens * choices];
    sort(op, wanted(op, chosen, weights), offsets, assignments, slots);
    if (in.length > 2) {
      System.arraycopy(stats, 0, in[2], op.layer() * stats.length, stats.length);
      System.arraycopy(offsets, 0, in[4], op.layer() * offsets.length, offsets.length);
    }
    return new double[][] {weights, chosen, offsets, assignments, slots};
  }

  /** The choices, -1 for those that the policy leaves out; draws have no reference. */
  private static double[] wanted(Router op, double[] chosen, double[] weights) {
    if (op.second().draws()) {
      throw new UnsupportedOperationException("random second choices");
    }
    double[] wanted = chosen.clone();
    for (int a = 0; a < wanted.length && op.second().chooses(); a++) {
      if (a % op.choices() > 0 && weights[a] <= op.second().threshold()) {
        wanted[a] = -1;
      }
    }
    return wanted;
  }

  /**
   * In each group first choices take room in the order of tokens, then second ones; rows lie by
   * expert and token.
   */
  private static void sort(
      Router op, double[] chosen, double[] offsets, double[] assignments, double[] slots) {
    int experts = offsets.length - 1;
    int choices = op.choices();
    boolean[] kept = new boolean[chosen.length];
    int wide = op.group() == 0 ? chosen.length : (int) op.group() * choices;
    for (int from = 0; from < chosen.length; from += wide) {
      int[] taken = new int[experts];
      for (int c = 0; c < choices; c++) {
        for (int a = from + c; a < Math.min(from + wide, chosen.length); a += choices) {
          int e = (int) chosen[a];
          if (e >= 0 && (op.capacity() == 0 || taken[e] < op.capacity())) {
            taken[e]++;
            kept[a] = true;
          }
        }
      }
    }
    Arrays.fill(assignments, -1);
    Arrays.fill(slots, -1);
    int row = 0;
    for (int e = 0; e < experts; e++) {
      for (int a = 0; a < chosen.length; a++) {
        if (kept[a] && (int) chosen[a] == e) {
          assignments[row] = a;
          slots[a] = row++;
        }
      }
      offsets[e + 1] = row;
    }
  }

  static double[][] backward(Router.Backward op, Node node, double[][] in) {
    Router of = op.of();
    int experts = dim(node, 0, 1);
    int choices = of.choices();
    double[] dLogits = new double[in[0].length];
    for (int t = 0; t < (int) in[1][0]; t++) {
      double[] logits = Arrays.copyOfRange(in[0], t * experts, (t + 1) * experts);
      double[] p = scores(of.scoring(), logits);
      double sum = 0;
      double inner = 0;
      for (int a = t * choices; a < (t + 1) * choices; a++) {
        sum += p[(int) in[3][a]];
        inner += in[2][a] * arriving(in, a);
      }
      double[] dP = new double[experts];
      for (int a = t * choices; a < (t + 1) * choices; a++) {
        double d = arriving(in, a);
        dP[(int) in[3][a]] += of.renormalise() ? (d - inner) / sum : d;
      }
      double z = 0;
      if (in.length > 6) {
        int factors = of.layer() * (experts + 1);
        double all = Arrays.stream(p).sum();
        double mean = 0;
        for (int e = 0; e < experts; e++) {
          mean += in[6][factors + e] * p[e] / all;
        }
        for (int e = 0; e < experts; e++) {
          dP[e] += (in[6][factors + e] - (of.scoring() == Scoring.SIGMOID ? mean : 0)) / all;
        }
        z = 2 * in[6][factors + experts] * logSum(logits);
      }
      double along = 0;
      for (int e = 0; e < experts; e++) {
        along += dP[e] * p[e];
      }
      for (int e = 0; e < experts; e++) {
        double d = of.scoring() == Scoring.SIGMOID ? dP[e] * (1 - p[e]) : dP[e] - along;
        dLogits[t * experts + e] = p[e] * d + z * Math.exp(logits[e] - logSum(logits));
      }
    }
    return new double[][] {dLogits};
  }

  private static double arriving(double[][] in, int assignment) {
    int row = (int) in[4][assignment];
    return row < 0 ? 0 : in[5][row];
  }

  private static double[] scores(Scoring scoring, double[] logits) {
    double lse = logSum(logits);
    return Arrays.stream(logits)
        .map(x -> scoring == Scoring.SOFTMAX ? Math.exp(x - lse) : 1 / (1 + Math.exp(-x)))
        .toArray();
  }

  private static double logSum(double[] logits) {
    double most = Arrays.stream(logits).max().orElseThrow();
    return most + Math.log(Arrays.stream(logits).map(x -> Math.exp(x - most)).sum());
  }
}
