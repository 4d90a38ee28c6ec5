package dev.caravan.graph;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.MatMul;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.TensorRef;
import dev.caravan.ops.Addresses;
import dev.caravan.ops.Launch;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Every byte that the graphs of one model need on one device, known before the first is allocated. The
 * graphs (training, evaluation, ...) share weights and inputs by name, and take turns in one arena.
 */
public final class Plan {
  /**
   * One graph, ready to be bound.
   *
   * @param graph its nodes in order
   * @param memory where its activations lie
   * @param scratch temporaries of each node
   * @param wire bytes that a rank sends to the others of each group, if there are as many target rows as
   *     fit
   */
  public record Unit(
      Graph graph,
      MemoryPlan memory,
      List<List<TensorType>> scratch,
      Windows windows,
      Map<Axis, Long> wire) {
    /** A graph whose weights and gradients are never in parts. */
    Unit(Graph graph, MemoryPlan memory, List<List<TensorType>> scratch) {
      this(graph, memory, scratch, null, Map.of());
    }
  }

  private final Map<String, Unit> units = new LinkedHashMap<>();
  private final FlatLayout weights;
  private final DType storage;
  private final boolean trained;
  private final Sharding sharding;
  private final Map<String, Long> leafOffsets = new LinkedHashMap<>();
  private final long inputBytes;
  private final long leafBytes;

  /**
   * Plans graphs that belong together.
   *
   * @param graphs by name; equal leaf names mean equal leaves
   * @param kind the kind of device, whose kernels say what workspaces they need
   * @throws IllegalArgumentException if a name means two things, or there is no weight
   */
  public Plan(Map<String, Graph> graphs, Device.Kind kind) {
    this(graphs, kind, Sharding.NONE, 1);
  }

  /**
   * Plans graphs of one of several data-parallel ranks.
   *
   * @param graphs by name, as {@link Shard} made them
   * @param sharding what the ranks keep in parts
   * @param ranks how many there are
   */
  public Plan(Map<String, Graph> graphs, Device.Kind kind, Sharding sharding, int ranks) {
    this(graphs, kind, sharding, ranks, false);
  }

  /**
   * As above.
   *
   * @param whole whether a weight that is kept in parts has to lie on one rank: for optimizers that look at
   *     rows and columns
   */
  public Plan(
      Map<String, Graph> graphs, Device.Kind kind, Sharding sharding, int ranks, boolean whole) {
    this(graphs, kind, sharding, ranks, whole, Grid.NONE);
  }

  /**
   * As above, of one of several ranks that have parts of the model.
   *
   * @param grid how {@link Partition} and {@link ExpertPartition} divided the graphs
   */
  public Plan(
      Map<String, Graph> graphs,
      Device.Kind kind,
      Sharding sharding,
      int ranks,
      boolean whole,
      Grid grid) {
    this.sharding = ranks == 1 ? Sharding.NONE : sharding;
    Map<String, Tensor> leaves = new LinkedHashMap<>();
    graphs.values().forEach(graph -> graph.leaves().forEach(leaf -> merge(leaves, leaf)));
    List<Tensor> parameters = of(leaves, Role.PARAMETER);
    if (parameters.isEmpty()) {
      throw new IllegalArgumentException("no graph of " + graphs.keySet() + " has a weight");
    }
    boolean updates = this.sharding.updates();
    weights =
        updates || grid.ranks() > 1
            ? new FlatLayout(
                Buckets.of(graphs.values(), parameters, grid.experts()),
                updates ? ranks : 1,
                whole,
                grid)
            : new FlatLayout(parameters);
    storage = parameters.get(0).type().dtype();
    trained = !of(leaves, Role.GRADIENT).isEmpty();
    inputBytes = layOut(of(leaves, Role.INPUT), 0);
    leafBytes = layOut(of(leaves, Role.CONSTANT, Role.STATE), inputBytes);
    graphs.forEach(
        (name, graph) -> {
          Map<Axis, Long> wire = new EnumMap<>(Axis.class);
          List<List<TensorType>> scratch = scratch(graph, kind, weights, wire);
          Windows windows = Windows.of(graph, weights, storage);
          MemoryPlan memory = MemoryPlan.of(graph, scratch, windows.all());
          units.put(name, new Unit(graph, memory, scratch, windows, wire));
        });
  }

  private static List<Tensor> of(Map<String, Tensor> leaves, Role... roles) {
    List<Role> wanted = List.of(roles);
    return leaves.values().stream().filter(leaf -> wanted.contains(leaf.role())).toList();
  }

  private long layOut(List<Tensor> tensors, long first) {
    long next = first;
    for (Tensor tensor : tensors) {
      leafOffsets.put(tensor.name(), next);
      next += MemoryPlan.align(tensor.type().byteSize());
    }
    return next;
  }

  private static void merge(Map<String, Tensor> leaves, Tensor leaf) {
    Tensor known = leaves.putIfAbsent(leaf.name(), leaf);
    if (known == null) {
      return;
    }
    mustEqual(leaf.name(), known.type(), leaf.type());
    mustEqual(leaf.name(), known.role(), leaf.role());
  }

  private static void mustEqual(String name, Object one, Object other) {
    if (!one.equals(other)) {
      throw new IllegalArgumentException(
          name + ": is " + one + " in one graph, " + other + " in another");
    }
  }

  /** Temporaries of each node; the last is the workspace that its kernels share. Counts what is sent. */
  private static List<List<TensorType>> scratch(
      Graph graph, Device.Kind kind, FlatLayout weights, Map<Axis, Long> wire) {
    List<List<TensorType>> scratch = new ArrayList<>();
    Map<Tensor, Tensor> roots = roots(graph);
    for (Node node : graph.nodes()) {
      List<TensorType> types = new ArrayList<>(node.op().scratch(node));
      Sizing sizing = new Sizing(kind, List.copyOf(types), weights, roots, wire);
      node.op().launches(node, sizing);
      if (!sizing.exchanges) { // counts of experts' rows that only the running op knows: as it expects
        wire.merge(Axis.EXPERT, node.op().wireBytes(node), Long::sum);
      }
      if (sizing.workspaceBytes > 0) {
        types.add(TensorType.bytes(sizing.workspaceBytes));
      }
      scratch.add(types);
    }
    return scratch;
  }

  /** The graphs by name. */
  public Map<String, Unit> units() {
    return units;
  }

  /** How the weights lie in their buffer. */
  public FlatLayout weights() {
    return weights;
  }

  /** Dtype of weights and activations. */
  public DType storage() {
    return storage;
  }

  /** Whether any graph makes gradients. */
  public boolean trained() {
    return trained;
  }

  /** Where a leaf that is no weight lies in the leaves' buffer. */
  public long leafOffset(String name) {
    Long offset = leafOffsets.get(name);
    if (offset == null) {
      throw new IllegalArgumentException("no input is named " + name);
    }
    return offset;
  }

  /** Bytes of the inputs, which lie first among the leaves: one copy uploads them. */
  public long inputBytes() {
    return inputBytes;
  }

  /** Bytes of inputs, constants and state. */
  public long leafBytes() {
    return leafBytes;
  }

  /** Bytes of the arena that all units share. */
  public long arenaBytes() {
    return units.values().stream().mapToLong(unit -> unit.memory().arenaBytes()).max().orElse(0);
  }

  /** The most bytes of activations alive at once, over all units. */
  public long activationBytes() {
    return units.values().stream()
        .mapToLong(unit -> unit.memory().peakActivationBytes())
        .max()
        .orElse(0);
  }

  /** All bytes that binding the plan allocates. */
  public long bytes() {
    return weightBytes() + gradientBytes() + leafBytes + arenaBytes();
  }

  /** What ranks keep in parts. */
  public Sharding sharding() {
    return sharding;
  }

  /** Bytes of the weights, remainders of split float32 masters included when trained. */
  public long weightBytes() {
    return keptWeightBytes() + remainderBytes();
  }

  /** Bytes of the weights themselves, as they are kept. */
  public long keptWeightBytes() {
    return (sharding.weights() ? weights.keptElements() : weights.elements()) * storage.bytes();
  }

  /** Bytes of the lower halves of split float32 masters: bfloat16 weights that are trained. */
  public long remainderBytes() {
    return trained && storage == DType.BF16 ? weights.keptElements() * DType.U16.bytes() : 0;
  }

  /** Bytes of the gradients. */
  public long gradientBytes() {
    long elements = sharding.gradients() ? weights.keptElements() : weights.elements();
    return trained ? elements * DType.F32.bytes() : 0;
  }

  /** Shapes without addresses: asks each call how large its workspace is, and forgets the call. */
  private static final class Sizing implements Addresses {
    /** Not null, aligned, and never touched. */
    private static final long NOWHERE = MemoryPlan.ALIGNMENT;

    private final Device.Kind kind;
    private final List<TensorType> scratch;
    private final FlatLayout weights;
    private final Map<Tensor, Tensor> roots;
    private final Map<Axis, Long> wire;
    private long workspaceBytes;
    private boolean exchanges;

    Sizing(
        Device.Kind kind,
        List<TensorType> scratch,
        FlatLayout weights,
        Map<Tensor, Tensor> roots,
        Map<Axis, Long> wire) {
      this.kind = kind;
      this.scratch = scratch;
      this.weights = weights;
      this.roots = roots;
      this.wire = wire;
    }

    /** Gradients lie as the weights do: some are exchanged together, with the gaps between them. */
    @Override
    public TensorRef ref(Tensor tensor) {
      Tensor leaf = roots.getOrDefault(tensor, tensor);
      DType dtype = tensor.type().dtype();
      long offset =
          leaf.role() == Role.GRADIENT
              ? weights.slot(Autodiff.parameterName(leaf.name())).offset() * dtype.bytes()
              : 0;
      return TensorRef.of(NOWHERE + offset, dtype, tensor.type().shape());
    }

    @Override
    public TensorRef scratch(int index) {
      TensorType type = scratch.get(index);
      return TensorRef.of(NOWHERE, type.dtype(), type.shape());
    }

    @Override
    public Launch launch(KernelCall call) {
      try (call) {
        workspaceBytes = Math.max(workspaceBytes, call.workspaceBytes(kind));
      }
      return stream -> {
        throw new IllegalStateException("a plan runs nothing");
      };
    }

    /** The plan does not know which library will be found, so it has room for any. */
    @Override
    public Launch launch(Product product) {
      if (kind == Device.Kind.CUDA) {
        workspaceBytes = Math.max(workspaceBytes, Products.VENDOR_WORKSPACE_BYTES);
      }
      return launch(MatMul.forward(product));
    }

    @Override
    public TensorRef bucket(Tensor leaf) {
      return range(leaf, false);
    }

    @Override
    public TensorRef part(Tensor leaf) {
      return range(leaf, true);
    }

    @Override
    public TensorRef kept(Tensor leaf) {
      return part(leaf);
    }

    private TensorRef range(Tensor tensor, boolean part) {
      Tensor leaf = roots.getOrDefault(tensor, tensor);
      FlatLayout.Bucket bucket = weights.bucket(Windows.parameter(leaf));
      return TensorRef.of(
          NOWHERE, leaf.type().dtype(), part ? bucket.part() : bucket.elements());
    }

    @Override
    public Launch begin(Collective collective, int tag) {
      long longer = Math.max(collective.sendBytes(), collective.receiveBytes());
      exchanges = true;
      wire.merge(
          collective.axis(),
          Collective.wireBytes(collective.kind(), collective.ranks(), longer),
          Long::sum);
      return stream -> {
        throw new IllegalStateException("a plan runs nothing");
      };
    }

    @Override
    public int rank(Axis axis) {
      return 0;
    }

    @Override
    public Launch join(Axis axis, int tag) {
      return stream -> {
        throw new IllegalStateException("a plan runs nothing");
      };
    }
  }

  /** The root of a tensor that shares memory with a leaf: the leaf itself. */
  static Map<Tensor, Tensor> roots(Graph graph) {
    Map<Tensor, Tensor> roots = new LinkedHashMap<>();
    for (Node node : graph.nodes()) {
      for (int i = 0; i < node.outputs().size(); i++) {
        Tensor output = node.out(i);
        if (output.role() != Role.ACTIVATION) {
          int alias = Math.max(node.op().inPlace(i), node.op().viewOf(i));
          Tensor input = node.in(alias);
          roots.put(output, roots.getOrDefault(input, input));
        }
      }
    }
    return roots;
  }
}
