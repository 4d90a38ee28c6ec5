package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.ops.AllGatherRows;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Balance;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.ExpertRange;
import dev.caravan.ops.GatherRouting;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.ReduceScatterRows;
import dev.caravan.ops.Router;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Makes a forward graph of sparse experts one of several ranks that see different tokens.
 *
 * <ul>
 *   <li>What balance losses are made of is summed over all of them, so that a micro-batch is what they have
 *       together.
 *   <li>Where ranks share the experts, each routes its own tokens; the group gathers tokens and choices,
 *       every rank computes the rows of its own experts, and the sums of what they made go back to the
 *       tokens' ranks. Nothing depends on how many rows an expert gets, so nothing is dropped, and shapes
 *       stay what they are. A capacity counts the tokens of each rank apart, as without a group.
 * </ul>
 *
 * <p>With one rank nothing is to be done.
 */
public final class ExpertPartition {
  private final Graph model;
  private final Division experts;
  private final int ranks;
  private final Graph result = new Graph();
  private final Map<Tensor, Tensor> made = new HashMap<>();
  private final Map<Tensor, Node> makers = new HashMap<>();

  private ExpertPartition(Graph model, Division experts, int ranks) {
    this.model = model;
    this.experts = experts;
    this.ranks = ranks;
  }

  /**
   * The graph of one of several ranks; all have the same.
   *
   * @param experts how the experts are divided: rows of their weights, which are experts
   * @param ranks that see different tokens
   * @throws IllegalArgumentException if the experts cannot be divided among so many
   */
  public static Graph apply(Graph model, Division experts, int ranks) {
    boolean sums =
        ranks > 1 && model.nodes().stream().anyMatch(node -> node.op() instanceof Balance);
    return experts.ranks() == 1 && !sums
        ? model
        : new ExpertPartition(model, experts, ranks).apply();
  }

  private Graph apply() {
    for (Tensor leaf : model.leaves()) {
      boolean weight = leaf.role() == Role.PARAMETER;
      TensorType type = weight ? experts.part(leaf.name(), leaf.type()) : leaf.type();
      made.put(leaf, result.leaf(leaf.name(), type, leaf.role()));
    }
    for (Node node : model.nodes()) {
      node.outputs().forEach(output -> makers.put(output, node));
      visit(node);
    }
    model.results().forEach(tensor -> result.result(made.get(tensor)));
    return result;
  }

  private void visit(Node node) {
    List<Tensor> inputs = new ArrayList<>();
    node.inputs().forEach(input -> inputs.add(made.get(input)));
    if (node.op() instanceof Balance && ranks > 1) {
      inputs.set(0, one(node, new AllReduce(Axis.DATA, ranks, false), inputs.get(0)));
    }
    boolean parts =
        node.op() instanceof ExpertLayer
            && !node.in(1).type().equals(made.get(node.in(1)).type());
    if (parts) {
      layer(node, inputs);
    } else {
      keep(node, result.emit(node.op(), inputs, node.scope(), node.block()));
    }
  }

  private void keep(Node node, Node twin) {
    for (int i = 0; i < node.outputs().size(); i++) {
      made.put(node.out(i), twin.out(i));
    }
  }

  private void layer(Node node, List<Tensor> inputs) {
    Node router = makers.get(node.in(3));
    Router routing = (Router) router.op();
    AllGatherRows gather = new AllGatherRows(Axis.EXPERT, experts.ranks());
    Tensor x = one(node, gather, inputs.get(0));
    Tensor chosen = one(node, gather, made.get(router.out(1)));
    ExpertRange range =
        new ExpertRange(
            Axis.EXPERT,
            experts.ranks(),
            node.in(1).dim(0),
            routing.capacity(),
            routing.group());
    List<Tensor> sorted = emit(node, range, chosen).outputs();
    Tensor weights =
        one(
            node,
            new GatherRouting(Axis.EXPERT, experts.ranks()),
            inputs.get(3),
            sorted.get(2),
            made.get(router.out(2)),
            made.get(router.out(3)));
    Node own =
        emit(
            node,
            node.op(),
            x,
            inputs.get(1),
            inputs.get(2),
            weights,
            sorted.get(0),
            sorted.get(1),
            sorted.get(2));
    made.put(node.out(1), own.out(1));
    made.put(
        node.out(0),
        one(node, new ReduceScatterRows(Axis.EXPERT, experts.ranks()), own.out(0)));
  }

  private Node emit(Node node, Op op, Tensor... inputs) {
    return result.emit(op, List.of(inputs), node.scope(), node.block());
  }

  private Tensor one(Node node, Op op, Tensor... inputs) {
    return emit(node, op, inputs).out(0);
  }
}
