package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.ops.Add;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Attention;
import dev.caravan.ops.Bias;
import dev.caravan.ops.Embedding;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.Glu;
import dev.caravan.ops.LinearCrossEntropy;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.RmsNorm;
import dev.caravan.ops.RmsNormPart;
import dev.caravan.ops.Rope;
import dev.caravan.ops.RowDot;
import dev.caravan.ops.SumParts;
import dev.caravan.ops.ToParts;
import dev.caravan.ops.View;
import dev.caravan.ops.Vocabulary;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The first pass: turns the graph of a whole model into that of one tensor-parallel rank, whose weights
 * are parts and whose partial results meet in collectives. With one rank the part is the whole. Source:
 * Shoeybi et al. 2019, arXiv 1909.08053, section 3.
 *
 * <p>A product with a part of a weight's rows makes a part of the outputs: of attention, some heads; of
 * a gated unit, some of its width. What follows stays within the part, until a product with a part of a
 * weight's columns makes a term of a sum over ranks. A norm over columns of all parts exchanges a number a
 * row. A part of an embedding's rows makes a term too, and the loss on a part of the vocabulary meets the
 * other parts within itself. Weights that are whole are
 * read, and get their gradients, by every rank alike.
 *
 * <p>Of sparse experts every rank has some of each one's width. All choose alike, so balance losses, which
 * reach the router without passing a part, have their whole gradient on every rank; that of the choices'
 * weights is a sum over ranks, as that of the layer's input is.
 */
public final class Partition {
  /** Axis of an activation that is cut, of [T, H N] and [T, H, N] both. */
  private static final int AXIS = 1;

  /** Which inputs of an {@link ExpertLayer} are the weights of all experts, and of the choices. */
  private static final int W1 = 1;

  private static final int W2 = 2;
  private static final int CHOICES = 3;

  /** Which input of an {@link Attention} is the table of relative positions. */
  private static final int POSITIONS = 5;

  private final Graph model;
  private final Division division;
  private final Graph result = new Graph();
  private final Map<Tensor, Tensor> made = new HashMap<>();
  private final Map<Tensor, Tensor> entered = new HashMap<>(); // by ToParts
  private final Set<Tensor> cut = new HashSet<>(); // of the model's tensors
  private final Map<Tensor, Node> terms = new HashMap<>(); // not yet summed, and what makes them

  private Partition(Graph model, Division division) {
    this.model = model;
    this.division = division;
  }

  /**
   * The graph of one of several ranks, a forward graph as it comes from a model; all ranks have the same.
   *
   * @throws IllegalArgumentException if something cannot be divided among so many ranks, or an op cannot
   *     work on parts
   */
  public static Graph apply(Graph model, Division division) {
    return division.ranks() == 1 ? model : new Partition(model, division).apply();
  }

  private Graph apply() {
    for (Tensor leaf : model.leaves()) {
      if (leaf.role() != Role.PARAMETER) {
        made.put(leaf, result.leaf(leaf.name(), leaf.type(), leaf.role()));
      }
    }
    Buckets.of(model).forEach(this::weights);
    model.nodes().forEach(this::visit);
    model.results().forEach(tensor -> result.result(whole(tensor)));
    return result;
  }

  /**
   * The weights of a block; those that are alike on all ranks lie before those of which each has a part,
   * so that what is done with either kind is done with one range.
   */
  private void weights(List<Tensor> block) {
    List<Tensor> ordered = new ArrayList<>(block);
    ordered.sort(Comparator.comparing(weight -> division.split().apply(weight.name())));
    for (Tensor weight : ordered) {
      TensorType part = division.part(weight.name(), weight.type());
      made.put(weight, result.leaf(weight.name(), part, Role.PARAMETER));
      if (division.cuts(weight.name())) {
        cut.add(weight);
      }
    }
  }

  private void visit(Node node) {
    Op op = node.op();
    if (op instanceof Add && terms.keySet().containsAll(node.inputs())) {
      List<Tensor> inputs = new ArrayList<>();
      node.inputs().forEach(term -> inputs.add(made.get(term)));
      emit(node, op, inputs, false);
      terms.put(node.out(0), node);
    } else if (node.inputs().stream().noneMatch(cut::contains)) {
      emit(node, op, inputs(node), false);
    } else if (op instanceof MatMul) {
      product(node);
    } else if (op instanceof ExpertLayer) {
      experts(node);
    } else if (op instanceof Embedding && vocabulary(node.in(1))) {
      emit(node, new Embedding(rows(node.in(1))), inputs(node), false);
      terms.put(node.out(0), node);
    } else if (op instanceof LinearCrossEntropy loss && vocabulary(node.in(1))) {
      List<Tensor> inputs = inputs(node);
      inputs.set(0, enter(node, inputs.get(0)));
      emit(node, new LinearCrossEntropy(loss.chunk(), rows(node.in(1))), inputs, false);
    } else if (op instanceof View view) {
      long[] shape = view.shape().stream().mapToLong(Long::longValue).toArray();
      TensorType whole = new TensorType(node.in(0).type().dtype(), shape);
      TensorType part = division.part(node.toString(), whole, AXIS);
      emit(node, View.as(part.shape()), inputs(node), true);
    } else if (op instanceof Attention attention) {
      List<Tensor> ofHeads = new ArrayList<>(node.inputs().subList(0, 3));
      if (attention.biased()) {
        ofHeads.add(node.in(POSITIONS));
      }
      if (attention.sinking() || !cut.containsAll(ofHeads)) {
        throw mixed(node);
      }
      emit(node, op, inputs(node), true);
    } else if (op instanceof Rope || (op instanceof RmsNorm && ofHeads(node))) {
      emit(node, op, inputs(node), true);
    } else if (op instanceof RmsNorm norm && ofParts(node)) {
      norm(node, norm);
    } else if (op instanceof Glu || op instanceof Bias || op instanceof Add) {
      if (!cut.containsAll(node.inputs())) {
        throw mixed(node);
      }
      emit(node, op, inputs(node), true);
    } else {
      throw mixed(node);
    }
  }

  /** Whether a norm is of each head alone: its statistics need no other rank, its weight is shared. */
  private boolean ofHeads(Node node) {
    return node.in(0).type().rank() > AXIS + 1
        && division.split().apply(node.in(1).name()) == Division.Split.SHARED;
  }

  /** Whether a norm is over rows of which every rank has a part, as it has of the weight. */
  private boolean ofParts(Node node) {
    return node.inputs().size() == 2
        && node.in(0).type().rank() == AXIS + 1
        && cut.containsAll(node.inputs());
  }

  private IllegalArgumentException mixed(Node node) {
    return new IllegalArgumentException(
        node + ": on parts of " + division.ranks() + " tensor-parallel ranks is not built yet");
  }

  /** Rows of a weight on whole activations, or its columns on a part of them. */
  private void product(Node node) {
    Tensor x = node.in(0);
    Tensor weight = node.in(1);
    List<Tensor> inputs = inputs(node);
    Division.Split split =
        cut.contains(weight) ? division.split().apply(weight.name()) : Division.Split.WHOLE;
    if (split == Division.Split.ROWS && !cut.contains(x)) {
      inputs.set(0, enter(node, inputs.get(0)));
      emit(node, node.op(), inputs, true);
    } else if (split == Division.Split.COLUMNS && cut.contains(x)) {
      emit(node, node.op(), inputs, false);
      terms.put(node.out(0), node);
    } else {
      throw mixed(node);
    }
  }

  /** A part of every row, and what it has to know of the others. */
  private void norm(Node node, RmsNorm norm) {
    List<Tensor> inputs = inputs(node);
    Tensor x = inputs.get(0);
    Tensor squares = one(node, new RowDot(), x, x);
    inputs.add(one(node, new AllReduce(Axis.TENSOR, division.ranks(), false), squares));
    emit(node, new RmsNormPart(norm.eps(), division.ranks()), inputs, true);
  }

  /** Some of the width of every expert, on whole activations and choices. */
  private void experts(Node node) {
    if (!cut.contains(node.in(W1)) || !cut.contains(node.in(W2)) || cut.contains(node.in(0))) {
      throw mixed(node);
    }
    List<Tensor> inputs = inputs(node);
    inputs.set(0, enter(node, inputs.get(0)));
    inputs.set(CHOICES, enter(node, inputs.get(CHOICES)));
    emit(node, node.op(), inputs, false);
    terms.put(node.out(0), node);
    cut.add(node.out(1));
  }

  private Tensor enter(Node node, Tensor whole) {
    return entered.computeIfAbsent(
        whole, x -> one(node, new ToParts(division.ranks()), x));
  }

  /** What a tensor has become; of terms, their sum over the ranks. */
  private Tensor whole(Tensor tensor) {
    Node maker = terms.remove(tensor);
    if (maker != null) {
      made.put(tensor, one(maker, new SumParts(division.ranks()), made.get(tensor)));
    }
    return made.get(tensor);
  }

  private boolean vocabulary(Tensor weight) {
    return cut.contains(weight)
        && division.split().apply(weight.name()) == Division.Split.ROWS;
  }

  private Vocabulary rows(Tensor weight) {
    return new Vocabulary(division.ranks(), weight.dim(0));
  }

  private List<Tensor> inputs(Node node) {
    List<Tensor> inputs = new ArrayList<>();
    node.inputs().forEach(input -> inputs.add(whole(input)));
    return inputs;
  }

  private Tensor one(Node node, Op op, Tensor... inputs) {
    return result.emit(op, Arrays.asList(inputs), node.scope(), node.block()).out(0);
  }

  private void emit(Node node, Op op, List<Tensor> inputs, boolean parts) {
    Node twin = result.emit(op, inputs, node.scope(), node.block());
    for (int i = 0; i < node.outputs().size(); i++) {
      made.put(node.out(i), twin.out(i));
      if (parts) {
        cut.add(node.out(i));
      }
    }
  }
}
