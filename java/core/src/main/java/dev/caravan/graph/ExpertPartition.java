package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.ops.AllGatherRows;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.AllToAllRows;
import dev.caravan.ops.AllToAllRows.Counted;
import dev.caravan.ops.Balance;
import dev.caravan.ops.ExchangeRouting;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.ExpertPlaces;
import dev.caravan.ops.ExpertRange;
import dev.caravan.ops.GatherRouting;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.ReduceScatterRows;
import dev.caravan.ops.Router;
import dev.caravan.ops.SumRows;
import dev.caravan.ops.ToParts;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Makes a forward graph of sparse experts one of several ranks that see different tokens.
 *
 * <ul>
 *   <li>What balance losses are made of is summed over all of them, so that a micro-batch is what they have
 *       together.
 *   <li>Where ranks share the experts, each routes its own tokens. By {@link ExpertExchange#GATHER} the
 *       group gathers tokens and choices, every rank computes the rows of its own experts, and the sums of
 *       what they made go back to the tokens' ranks. Nothing depends on how many rows an expert gets, so
 *       nothing is dropped, and shapes stay what they are. By an all-to-all each rank sends to each other
 *       the rows of that one's experts, and gets back what they made of them, weighted.
 *   <li>A capacity counts the tokens of each rank apart, as without a group, and drops the same ones
 *       however they travel.
 * </ul>
 *
 * <p>A graph that {@link Partition} made is divided once more: each tensor-parallel rank exchanges with those
 * that have the same part of every expert's width, and the sum over tensor-parallel ranks stands behind the
 * exchange, of a rank's own tokens only. With one rank nothing is to be done.
 */
public final class ExpertPartition {
  private final Graph model;
  private final Division experts;
  private final int ranks;
  private final ExpertExchange exchange;
  private final Graph result = new Graph();
  private final Map<Tensor, Tensor> made = new HashMap<>();
  private final Map<Tensor, Node> makers = new HashMap<>();

  private ExpertPartition(
      Graph model, Division experts, int ranks, ExpertExchange exchange) {
    this.model = model;
    this.experts = experts;
    this.ranks = ranks;
    this.exchange = exchange;
  }

  /**
   * The graph of one of several ranks; all have the same.
   *
   * @param experts how the experts are divided: rows of their weights, which are experts
   * @param ranks that see different tokens
   * @param exchange how rows come to the experts of other ranks
   * @throws IllegalArgumentException if the experts cannot be divided among so many
   */
  public static Graph apply(
      Graph model, Division experts, int ranks, ExpertExchange exchange) {
    boolean sums =
        ranks > 1 && model.nodes().stream().anyMatch(node -> node.op() instanceof Balance);
    return experts.ranks() == 1 && !sums
        ? model
        : new ExpertPartition(model, experts, ranks, exchange).apply();
  }

  private Graph apply() {
    for (Tensor leaf : model.leaves()) {
      if (leaf.role() != Role.PARAMETER) {
        made.put(leaf, result.leaf(leaf.name(), leaf.type(), leaf.role()));
      }
    }
    Buckets.of(model).forEach(this::weights);
    for (Node node : model.nodes()) {
      node.outputs().forEach(output -> makers.put(output, node));
      visit(node);
    }
    model.results().forEach(tensor -> result.result(made.get(tensor)));
    return result;
  }

  /** The weights of a block; those of experts, which fewer ranks have, lie behind all others. */
  private void weights(List<Tensor> block) {
    List<Tensor> ordered = new ArrayList<>(block);
    ordered.sort(Comparator.comparing(weight -> experts.cuts(weight.name())));
    for (Tensor weight : ordered) {
      TensorType part = experts.part(weight.name(), weight.type());
      made.put(weight, result.leaf(weight.name(), part, Role.PARAMETER));
    }
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
      Node router = router(node);
      boolean fixed =
          exchange == ExpertExchange.PADDED && ((Router) router.op()).capacity() > 0;
      if (fixed || exchange == ExpertExchange.EXACT) {
        exchanged(node, router, inputs);
      } else {
        gathered(node, router, inputs);
      }
    } else {
      keep(node, result.emit(node.op(), inputs, node.scope(), node.block()));
    }
  }

  /** What routed a layer's tokens; tensor-parallel ranks let the weights enter their parts. */
  private Node router(Node node) {
    Node maker = makers.get(node.in(3));
    return maker.op() instanceof ToParts ? makers.get(maker.in(0)) : maker;
  }

  private void keep(Node node, Node twin) {
    for (int i = 0; i < node.outputs().size(); i++) {
      made.put(node.out(i), twin.out(i));
    }
  }

  private void exchanged(Node node, Node router, List<Tensor> inputs) {
    int among = experts.ranks();
    long all = node.in(1).dim(0);
    long tokens = node.in(0).dim(0);
    Router routing = (Router) router.op();
    ExpertPlaces placing =
        new ExpertPlaces(among, ExpertPlaces.places(among, tokens, all, routing));
    Tensor offsets = made.get(router.out(2));
    Tensor assignments = made.get(router.out(3));
    List<Tensor> placed =
        emit(
                node,
                placing,
                made.get(router.out(1)),
                offsets,
                assignments,
                made.get(router.out(4)))
            .outputs();
    Tensor sent = placed.get(0);
    Tensor tokenOf = placed.get(1);
    Tensor places = placed.get(3);
    boolean exact = exchange == ExpertExchange.EXACT;
    long even = Math.min(tokens * routing.choices(), among * placing.each());
    AllToAllRows out = swap(exact ? new Counted(even, false) : null);
    AllToAllRows home = swap(exact ? new Counted(even, true) : null);
    List<Tensor> counts =
        exact ? List.of(one(node, new AllGatherRows(Axis.EXPERT, among), offsets)) : List.of();
    Tensor rows = one(node, new SumRows(), inputs.get(0), tokenOf, places);
    Tensor x = one(node, out, with(counts, rows));
    Tensor chosen = one(node, out, with(counts, placed.get(2)));
    ExpertRange range = new ExpertRange(Axis.EXPERT, among, all, 0, 0);
    List<Tensor> sorted = emit(node, range, chosen).outputs();
    Tensor weights =
        one(
            node,
            new ExchangeRouting(out),
            with(
                counts, inputs.get(3), sent, places, sorted.get(2), offsets, assignments));
    Tensor back = one(node, home, with(counts, own(node, x, inputs, weights, sorted)));
    made.put(node.out(0), one(node, new SumRows(), back, places, tokenOf));
  }

  private AllToAllRows swap(Counted counted) {
    return new AllToAllRows(Axis.EXPERT, experts.ranks(), counted);
  }

  private static Tensor[] with(List<Tensor> last, Tensor... first) {
    return Stream.concat(Stream.of(first), last.stream()).toArray(Tensor[]::new);
  }

  /** What the rank's own experts make of tokens, weighted. */
  private Tensor own(
      Node node, Tensor x, List<Tensor> inputs, Tensor weights, List<Tensor> sorted) {
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
    return own.out(0);
  }

  private void gathered(Node node, Node router, List<Tensor> inputs) {
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
    Tensor y = own(node, x, inputs, weights, sorted);
    made.put(
        node.out(0), one(node, new ReduceScatterRows(Axis.EXPERT, experts.ranks()), y));
  }

  private Node emit(Node node, Op op, Tensor... inputs) {
    return result.emit(op, List.of(inputs), node.scope(), node.block());
  }

  private Tensor one(Node node, Op op, Tensor... inputs) {
    return emit(node, op, inputs).out(0);
  }
}
