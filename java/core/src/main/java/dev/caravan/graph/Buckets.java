package dev.caravan.graph;

import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Weights that travel together between ranks: those of one block of the model, which lie behind one
 * another in the flat buffers and whose gradients are complete at about the same time.
 */
final class Buckets {
  private Buckets() {}

  /** The weights of a graph in the order of its flat buffers, cut where the block changes. */
  static List<List<Tensor>> of(Graph graph) {
    return of(graph, Division.NONE);
  }

  /** The same, of a rank that has some of the experts. */
  static List<List<Tensor>> of(Graph graph, Division experts) {
    return of(List.of(graph), graph.leaves(Role.PARAMETER), experts);
  }

  /** The same for weights of several graphs, which share them by name. */
  static List<List<Tensor>> of(
      Collection<Graph> graphs, List<Tensor> parameters, Division experts) {
    Map<String, Integer> blocks = new HashMap<>();
    for (Graph graph : graphs) {
      for (Node node : graph.nodes()) {
        for (Tensor input : node.inputs()) {
          if (input.role() == Role.PARAMETER && !node.op().exchanges()) {
            blocks.putIfAbsent(input.name(), node.block());
          }
        }
      }
    }
    List<List<Tensor>> buckets = new ArrayList<>();
    int last = 0;
    boolean apart = false; // other ranks have the same of them
    for (Tensor parameter : parameters) {
      int block = blocks.getOrDefault(parameter.name(), Graph.NO_BLOCK);
      boolean own = experts.cuts(parameter.name());
      if (buckets.isEmpty() || block != last || own != apart) {
        buckets.add(new ArrayList<>());
      }
      buckets.get(buckets.size() - 1).add(parameter);
      last = block;
      apart = own;
    }
    return buckets;
  }
}
