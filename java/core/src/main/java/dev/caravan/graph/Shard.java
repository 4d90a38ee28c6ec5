package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Join;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The last pass before scheduling: makes a differentiated graph one of a data-parallel group. The
 * gradients of each block are summed over the ranks as soon as their last part has been added, beside
 * the rest of the backward part. With one rank nothing is left to do.
 */
public final class Shard {
  private Shard() {}

  /** The graph of one of {@code ranks} data-parallel ranks. */
  public static Graph apply(Graph graph, int ranks) {
    if (ranks == 1) {
      return graph;
    }
    Map<Tensor, Tensor> roots = Plan.roots(graph);
    Map<Tensor, Tensor> sums = new HashMap<>(); // of each gradient, the tensor with its last part
    Map<Tensor, Integer> complete = new HashMap<>();
    List<Node> nodes = graph.nodes();
    for (int i = 0; i < nodes.size(); i++) {
      for (Tensor output : nodes.get(i).outputs()) {
        if (output.role() == Role.GRADIENT) {
          sums.put(roots.get(output), output);
          complete.put(roots.get(output), i);
        }
      }
    }
    Map<Integer, List<List<Tensor>>> behind = new HashMap<>();
    for (List<Tensor> bucket : Buckets.of(graph)) {
      List<Tensor> gradients = new ArrayList<>();
      int last = -1;
      for (Tensor parameter : bucket) {
        Tensor gradient = graph.leaf(Autodiff.gradientName(parameter.name()));
        gradients.add(sums.getOrDefault(gradient, gradient));
        last = Math.max(last, complete.getOrDefault(gradient, nodes.size() - 1));
      }
      behind.computeIfAbsent(last, i -> new ArrayList<>()).add(gradients);
    }
    Graph result = Graph.withLeavesOf(graph);
    List<Tensor> reduced = new ArrayList<>();
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i);
      result.keep(node);
      for (List<Tensor> gradients : behind.getOrDefault(i, List.of())) {
        AllReduce op = new AllReduce(Axis.DATA, ranks, true);
        reduced.addAll(result.emit(op, gradients, node.scope(), node.block()).outputs());
      }
    }
    result.emit(new Join(Axis.DATA), reduced, "", Graph.NO_BLOCK);
    return result;
  }
}
