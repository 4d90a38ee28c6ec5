package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.References;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Runs a graph node by node in float64, every tensor in an array of its own. It knows nothing of
 * plans: what it computes is what the graph means.
 */
final class ReferenceExecutor {
  private final Graph graph;
  private final Values leaves;
  private final boolean stored;
  private final Map<Tensor, double[]> values = new HashMap<>();

  /**
   * A graph and its leaves.
   *
   * @param leaves a value for every leaf but gradients and states, which are zero where they have none;
   *     a run changes both
   */
  ReferenceExecutor(Graph graph, Values leaves) {
    this(graph, leaves, false);
  }

  private ReferenceExecutor(Graph graph, Values leaves, boolean stored) {
    this.graph = graph;
    this.leaves = leaves;
    this.stored = stored;
  }

  /**
   * A plain implementation at the graph's precision: what a node makes is rounded to the dtype of the tensor
   * that keeps it, and exact until then.
   */
  static ReferenceExecutor plain(Graph graph, Values leaves) {
    return new ReferenceExecutor(graph, leaves, true);
  }

  /** Runs all nodes. What was added to a leaf in place is the leaf's value afterwards. */
  ReferenceExecutor run() {
    values.clear();
    for (Tensor leaf : graph.leaves()) {
      boolean kept = leaf.role() == Role.GRADIENT || leaf.role() == Role.STATE;
      if (kept && !leaves.has(leaf.name())) {
        leaves.set(leaf.name(), new double[Math.toIntExact(leaf.type().elements())]);
      }
      values.put(leaf, leaves.get(leaf.name()));
    }
    Map<Tensor, Tensor> leafOf = new HashMap<>();
    for (Node node : graph.nodes()) {
      double[][] in = node.inputs().stream().map(this::value).toArray(double[][]::new);
      double[][] out = References.values(node, in);
      for (int i = 0; i < out.length; i++) {
        DType dtype = node.out(i).type().dtype();
        if (stored && (dtype == DType.F32 || dtype == DType.BF16)) {
          double[] exact = out[i];
          Arrays.setAll(exact, at -> Values.round(exact[at], dtype));
        }
        values.put(node.out(i), out[i]);
        int alias = node.op().inPlace(i);
        if (alias != Op.NO_ALIAS && node.out(i).role() != Role.ACTIVATION) {
          Tensor leaf = leafOf.getOrDefault(node.in(alias), node.in(alias));
          leafOf.put(node.out(i), leaf);
          leaves.set(leaf.name(), out[i]);
        }
      }
    }
    return this;
  }

  /** The value of a tensor in the last run. */
  double[] value(Tensor tensor) {
    double[] value = values.get(tensor);
    if (value == null) {
      throw new IllegalStateException(tensor + " is read before it is made");
    }
    return value;
  }

  /** The gradient of a weight after the last run. */
  double[] gradient(String parameter) {
    return leaves.get(Autodiff.gradientName(parameter));
  }

  /** The last node's loss and what others add to it by the side. */
  double loss() {
    double loss = lastLoss();
    for (Node node : graph.nodes()) {
      loss += References.sideLoss(node, value(node.out(0)));
    }
    return loss;
  }

  /** The sum over targets divided by the step's, or what a probe gives. */
  private double lastLoss() {
    Node last = graph.nodes().get(graph.nodes().size() - 1);
    double[] value = value(last.out(0));
    if (!last.op().name().equals("linear_cross_entropy")) {
      return value[0];
    }
    double sum = 0;
    for (int i = 0; i < (int) value(last.in(4))[0]; i++) {
      sum += value[i];
    }
    return sum * value(last.in(5))[References.INV_TARGETS];
  }
}
