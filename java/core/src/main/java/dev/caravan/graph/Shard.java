package dev.caravan.graph;

import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The last pass before scheduling: makes a differentiated graph one of a data-parallel group, by summing
 * every gradient over the ranks once its last part has been added. With one rank nothing is left to do.
 */
public final class Shard {
  private Shard() {}

  /** The graph of one of {@code ranks} data-parallel ranks. */
  public static Graph apply(Graph graph, int ranks) {
    if (ranks == 1) {
      return graph;
    }
    Map<Tensor, Node> last = new LinkedHashMap<>();
    Map<Tensor, Tensor> roots = Plan.roots(graph);
    for (Node node : graph.nodes()) {
      for (Tensor output : node.outputs()) {
        if (output.role() == Role.GRADIENT) {
          last.put(roots.get(output), node);
        }
      }
    }
    Graph result = Graph.withLeavesOf(graph);
    for (Node node : graph.nodes()) {
      result.keep(node);
      for (Tensor output : node.outputs()) {
        if (output.role() == Role.GRADIENT && last.get(roots.get(output)) == node) {
          result.emit(new AllReduce(ranks), List.of(output), node.scope(), node.block());
        }
      }
    }
    return result;
  }
}
