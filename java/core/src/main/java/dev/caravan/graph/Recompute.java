package dev.caravan.graph;

import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): some forward nodes are run again just
 * before the backward needs their outputs, so that these need not be kept in between. The same ops on
 * the same inputs give the same bits, so every policy trains to the same weights, bit for bit. What
 * came of an exchange between ranks is kept.
 */
public final class Recompute {
  private Recompute() {}

  /**
   * What is computed again.
   *
   * @param cheap ops that cost little (norms, gates, rotations), in every block
   * @param blocks the first so many blocks whole: only their inputs are kept
   */
  public record Policy(boolean cheap, int blocks) {
    /** Keeps everything. */
    public static final Policy NONE = new Policy(false, 0);

    /** Computes cheap ops again. */
    public static final Policy SELECTIVE = new Policy(true, 0);

    /** Computes every block again. */
    public static final Policy FULL = new Policy(true, Integer.MAX_VALUE);

    boolean again(Node node) {
      return node.block() != Graph.NO_BLOCK
          && !node.op().exchanges()
          && ((cheap && node.op().cheap()) || node.block() < blocks);
    }
  }

  /**
   * The graph with copies of the nodes that the policy computes again, each placed before its first
   * use in the backward part.
   *
   * @param graph a differentiated graph
   * @param forwardNodes how many of its nodes are the forward part
   */
  public static Graph apply(Graph graph, int forwardNodes, Policy policy) {
    if (policy.equals(Policy.NONE)) {
      return graph;
    }
    List<Node> forward = graph.nodes().subList(0, forwardNodes);
    Map<Tensor, Node> again = new HashMap<>();
    Set<Tensor> borders = policy.blocks() > 0 ? borders(forward) : Set.of();
    Predicate<Tensor> kept = borders::contains;
    for (Node node : forward) {
      if (policy.again(node)) {
        for (Tensor output : node.outputs()) {
          if (!kept.test(output)) {
            again.put(output, node);
          }
        }
      }
    }
    Graph result = Graph.withLeavesOf(graph);
    forward.forEach(result::keep);
    Copies copies = new Copies(result, again);
    for (Node node : graph.nodes().subList(forwardNodes, graph.nodes().size())) {
      List<Tensor> inputs = new ArrayList<>(node.inputs().size());
      node.inputs().forEach(input -> inputs.add(copies.of(input)));
      result.keep(new Node(node.op(), inputs, node.outputs(), node.scope(), node.block()));
    }
    return result;
  }

  /** Outputs of a block that another block, or what follows the blocks, reads. */
  private static Set<Tensor> borders(List<Node> forward) {
    Map<Tensor, Integer> madeIn = new HashMap<>();
    Set<Tensor> borders = new HashSet<>();
    for (Node node : forward) {
      for (Tensor input : node.inputs()) {
        Integer block = madeIn.get(input);
        if (block != null && block != node.block()) {
          borders.add(input);
        }
      }
      if (node.block() != Graph.NO_BLOCK) {
        node.outputs().forEach(output -> madeIn.put(output, node.block()));
      }
    }
    return borders;
  }

  /** Makes each copy once, on first demand, with the copies that it needs in turn. */
  private static final class Copies {
    private final Graph graph;
    private final Map<Tensor, Node> again;
    private final Map<Tensor, Tensor> made = new HashMap<>();

    Copies(Graph graph, Map<Tensor, Node> again) {
      this.graph = graph;
      this.again = again;
    }

    Tensor of(Tensor tensor) {
      Node node = again.get(tensor);
      if (node == null) {
        return tensor;
      }
      Tensor copy = made.get(tensor);
      if (copy == null) {
        List<Tensor> inputs = new ArrayList<>(node.inputs().size());
        node.inputs().forEach(input -> inputs.add(of(input)));
        Node twin = graph.emit(node.op(), inputs, node.scope() + ".again", node.block());
        for (int i = 0; i < node.outputs().size(); i++) {
          made.put(node.out(i), twin.out(i));
        }
        copy = made.get(tensor);
      }
      return copy;
    }
  }
}
