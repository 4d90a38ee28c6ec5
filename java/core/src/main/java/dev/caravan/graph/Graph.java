package dev.caravan.graph;

import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A static graph: nodes in the order in which they run, over tensors that each have one producer (or
 * none, for those that the host fills). A model function builds one; passes make new ones from it.
 */
public final class Graph {
  /** Block index of nodes outside the model's blocks. */
  public static final int NO_BLOCK = -1;

  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Tensor> leaves = new LinkedHashMap<>();
  private final List<Tensor> results = new ArrayList<>();
  private int tensors;
  private String scope = "";
  private int block = NO_BLOCK;

  /** An empty graph. */
  public Graph() {}

  /** A graph with the leaves and results of another, and none of its nodes: where a pass begins. */
  static Graph withLeavesOf(Graph other) {
    Graph graph = new Graph();
    graph.leaves.putAll(other.leaves);
    graph.results.addAll(other.results);
    graph.tensors = other.tensors;
    return graph;
  }

  /** The nodes, in the order in which they run. */
  public List<Node> nodes() {
    return Collections.unmodifiableList(nodes);
  }

  /** Tensors without a producer, in the order in which they were made. */
  public List<Tensor> leaves() {
    return List.copyOf(leaves.values());
  }

  /** Leaves of one role. */
  public List<Tensor> leaves(Role role) {
    return leaves.values().stream().filter(leaf -> leaf.role() == role).toList();
  }

  /** The leaf of this name, or null. */
  public Tensor leaf(String name) {
    return leaves.get(name);
  }

  /** Tensors that must still hold their value when the last node has run. */
  public List<Tensor> results() {
    return Collections.unmodifiableList(results);
  }

  /** Keeps a tensor's value to the end. */
  public void result(Tensor tensor) {
    results.add(tensor);
  }

  /** How many tensors there are: ids lie below. */
  public int tensorCount() {
    return tensors;
  }

  /**
   * A tensor that no node makes. The same name gives the same tensor, so that tied weights are one.
   *
   * @throws IllegalArgumentException if the name is taken by another type or role
   */
  public Tensor leaf(String name, TensorType type, Role role) {
    Tensor known = leaves.get(name);
    if (known == null) {
      known = new Tensor(tensors++, name, type, role);
      leaves.put(name, known);
    } else if (!known.type().equals(type) || known.role() != role) {
      throw new IllegalArgumentException(
          name + ": is " + known.type() + " " + known.role() + ", asked as " + type + " " + role);
    }
    return known;
  }

  /** Runs {@code body} with nodes attributed to a part of the model. */
  public void in(String part, int blockIndex, Runnable body) {
    String outerScope = scope;
    int outerBlock = block;
    scope = part;
    block = blockIndex;
    try {
      body.run();
    } finally {
      scope = outerScope;
      block = outerBlock;
    }
  }

  /** Appends a node and returns its outputs. */
  public List<Tensor> emit(Op op, Tensor... inputs) {
    return emit(op, Arrays.asList(inputs), scope, block).outputs();
  }

  /** Appends a node of an op with one output and returns that. */
  public Tensor one(Op op, Tensor... inputs) {
    return emit(op, inputs).get(0);
  }

  Node emit(Op op, List<Tensor> inputs, String nodeScope, int nodeBlock) {
    List<TensorType> types;
    try {
      types = op.outputs(inputs);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(nodeScope + "/" + op.name() + ": " + e.getMessage(), e);
    }
    List<Tensor> outputs = new ArrayList<>(types.size());
    for (int i = 0; i < types.size(); i++) {
      int alias = op.inPlace(i) != Op.NO_ALIAS ? op.inPlace(i) : op.viewOf(i);
      Role role = alias == Op.NO_ALIAS ? Role.ACTIVATION : inputs.get(alias).role();
      String name = nodeScope + "/" + op.name() + (types.size() == 1 ? "" : "." + i);
      outputs.add(new Tensor(tensors++, name, types.get(i), role));
    }
    Node node = new Node(op, inputs, outputs, nodeScope, nodeBlock);
    nodes.add(node);
    return node;
  }

  /** Appends a node as it is: a pass keeps what it does not change. */
  void keep(Node node) {
    nodes.add(node);
  }

  /** Bytes that one rank sends to others. */
  public long wireBytes() {
    return nodes.stream().mapToLong(node -> node.op().wireBytes(node)).sum();
  }

  /** Floating-point operations of all nodes. */
  public long flops() {
    return nodes.stream().mapToLong(node -> node.op().flops(node)).sum();
  }
}
