package dev.caravan.graph;

import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Weights that travel together between ranks: those of one block of the model, which lie behind one
 * another in the flat buffers and whose gradients are complete at about the same time.
 */
public final class Buckets {
  private Buckets() {}

  /** The weights of a graph in the order of its flat buffers, cut where the block changes. */
  public static List<List<Tensor>> of(Graph graph) {
    Map<Tensor, Integer> blocks = new HashMap<>();
    for (Node node : graph.nodes()) {
      for (Tensor input : node.inputs()) {
        if (input.role() == Role.PARAMETER) {
          blocks.putIfAbsent(input, node.block());
        }
      }
    }
    List<List<Tensor>> buckets = new ArrayList<>();
    int last = 0;
    for (Tensor parameter : graph.leaves(Role.PARAMETER)) {
      int block = blocks.getOrDefault(parameter, Graph.NO_BLOCK);
      if (buckets.isEmpty() || block != last) {
        buckets.add(new ArrayList<>());
      }
      buckets.get(buckets.size() - 1).add(parameter);
      last = block;
    }
    return buckets;
  }
}
