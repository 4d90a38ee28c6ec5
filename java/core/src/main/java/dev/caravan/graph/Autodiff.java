package dev.caravan.graph;

import dev.caravan.ops.Add;
import dev.caravan.ops.Gradients;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Reverse-mode differentiation of a graph: walks its nodes backwards and appends, node by node, what
 * each op's record says its gradient is. Gradients of weights are added to float32 buffers that live
 * over the micro-batches of a step.
 *
 * <p>The last node must be the loss. Its op makes its gradient in the forward sweep, so it is taken out
 * and what its {@code backward} emits stands in its place.
 */
public final class Autodiff {
  private Autodiff() {}

  /** Name of the buffer that the gradient of a weight is added to. */
  public static String gradientName(String parameter) {
    return "grad." + parameter;
  }

  /** The weight whose gradient a buffer of this name holds. */
  static String parameterName(String gradient) {
    return gradient.substring("grad.".length());
  }

  /**
   * The graph that computes the loss and adds every weight's gradient.
   *
   * @param forward ends with its loss node, whose outputs are no results
   * @throws UnsupportedOperationException if an op has no gradient, or none that can be added to a
   *     weight that it reads
   */
  public static Graph differentiate(Graph forward) {
    Graph graph = Graph.withLeavesOf(forward);
    List<Node> nodes = forward.nodes();
    Node loss = nodes.get(nodes.size() - 1);
    if (loss.outputs().stream().anyMatch(forward.results()::contains)) {
      throw new IllegalArgumentException(
          loss + ": is taken out by differentiation, so it cannot be a result");
    }
    nodes.subList(0, nodes.size() - 1).forEach(graph::keep);

    Sweep sweep = new Sweep(graph, wanted(forward));
    for (Tensor parameter : forward.leaves(Role.PARAMETER)) {
      Tensor buffer =
          graph.leaf(
              gradientName(parameter.name()),
              TensorType.f32(parameter.type().shape()),
              Role.GRADIENT);
      sweep.set(parameter, buffer);
    }
    sweep.visit(loss);
    for (int i = nodes.size() - 2; i >= 0; i--) {
      if (sweep.reached(nodes.get(i))) {
        sweep.visit(nodes.get(i));
      }
    }
    return graph;
  }

  /** Which tensors lie between a weight and the loss. */
  private static BitSet wanted(Graph forward) {
    BitSet wanted = new BitSet();
    forward.leaves(Role.PARAMETER).forEach(parameter -> wanted.set(parameter.id()));
    for (Node node : forward.nodes()) {
      if (node.inputs().stream().anyMatch(input -> wanted.get(input.id()))) {
        node.outputs().forEach(output -> wanted.set(output.id()));
      }
    }
    return wanted;
  }

  /** The backward walk. */
  private static final class Sweep implements Gradients {
    private final Graph graph;
    private final BitSet wanted;
    private final Map<Tensor, Tensor> sums = new HashMap<>();
    private final BitSet owned = new BitSet();
    private Node current;

    Sweep(Graph graph, BitSet wanted) {
      this.graph = graph;
      this.wanted = wanted;
    }

    boolean reached(Node node) {
      return node.inputs().stream().anyMatch(this::wanted)
          && node.outputs().stream().anyMatch(sums::containsKey);
    }

    void visit(Node node) {
      current = node;
      node.op().backward(node, this);
    }

    @Override
    public Tensor of(Tensor output) {
      return sums.get(output);
    }

    @Override
    public boolean wanted(Tensor input) {
      return wanted.get(input.id());
    }

    @Override
    public Tensor sum(Tensor input) {
      return sums.get(input);
    }

    @Override
    public Tensor owned(Tensor input) {
      return owned.get(input.id()) ? sums.get(input) : null;
    }

    @Override
    public void add(Tensor input, Tensor part) {
      if (input.role() == Role.PARAMETER) {
        throw outOfPlace(input);
      }
      Tensor sum = sums.get(input);
      set(input, sum == null ? part : emit(new Add(), sum, part).get(0));
    }

    @Override
    public void share(Tensor input, Tensor part) {
      if (sums.containsKey(input)) {
        add(input, part);
      } else {
        sums.put(input, part);
      }
    }

    @Override
    public void set(Tensor input, Tensor sum) {
      if (input.role() == Role.PARAMETER && sum.role() != Role.GRADIENT) {
        throw outOfPlace(input);
      }
      sums.put(input, sum);
      owned.set(input.id());
    }

    /** Its gradient would never reach the weight's buffer. */
    private UnsupportedOperationException outOfPlace(Tensor weight) {
      return new UnsupportedOperationException(
          current + ": cannot add its gradient to that of the weight " + weight.name());
    }

    @Override
    public List<Tensor> emit(Op op, Tensor... inputs) {
      return graph.emit(op, List.of(inputs), current.scope(), current.block()).outputs();
    }
  }
}
