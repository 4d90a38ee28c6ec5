package dev.caravan.graph;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.Ranges;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.kernels.nvidia.CublasLt;
import dev.caravan.ops.Addresses;
import dev.caravan.ops.Join;
import dev.caravan.ops.Launch;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * A plan on a device: allocates what it says, prepares every kernel call once, and runs them. Running
 * a unit allocates nothing, native or Java; on a device that can record, a unit becomes one launch for
 * each number of chunks of target rows in use.
 */
public final class Executor implements AutoCloseable {
  private final Plan plan;
  private final Stream stream;
  private final LaunchMode mode;
  private final Products products;
  private final Collectives ranks;
  private final Memory weights;
  private final Memory remainders;
  private final Memory gradients;
  private final Memory leaves;
  private final Memory arena;
  private final List<KernelCall> calls = new ArrayList<>();
  private final Map<String, Program> programs = new LinkedHashMap<>();

  /**
   * The launches of one unit and the node that each belongs to.
   *
   * @param bounds numbers of target rows above which more launches take part, ascending
   * @param variants the unit for none of the bounds passed, one, two, ...
   */
  private record Program(Launch[] launches, Node[] nodes, int[] bounds, Replay[] variants) {
    Replay variant(int targets) {
      int passed = 0;
      while (passed < bounds.length && targets > bounds[passed]) {
        passed++;
      }
      return variants[passed];
    }
  }

  /**
   * Allocates and binds; when it fails, it keeps nothing.
   *
   * @throws KernelException.OutOfMemory if the device has less memory than the plan needs
   */
  public Executor(Plan plan, Stream stream) {
    this(plan, stream, Collectives.ALONE);
  }

  /**
   * As above, for one of several ranks.
   *
   * @param ranks its end of their groups; stays open
   * @throws KernelException.OutOfMemory if the device has less memory than the plan needs
   */
  public Executor(Plan plan, Stream stream, Collectives ranks) {
    this(plan, stream, CublasLt.open(stream, reason -> {}).orElse(Products.ABI), ranks);
  }

  /**
   * As above, its matrix products computed by {@code products}, which it closes.
   *
   * @throws KernelException.OutOfMemory if the device has less memory than the plan needs
   */
  public Executor(Plan plan, Stream stream, Products products) {
    this(plan, stream, products, Collectives.ALONE);
  }

  private Executor(Plan plan, Stream stream, Products products, Collectives ranks) {
    this.plan = plan;
    this.ranks = ranks;
    this.stream = stream;
    this.products = products;
    mode = LaunchMode.of(stream.device());
    try {
      weights = allocate("weights", plan.keptWeightBytes());
      remainders = allocate("remainders of weights", plan.remainderBytes());
      gradients = allocate("gradients", plan.gradientBytes());
      leaves = allocate("inputs and tables", plan.leafBytes());
      arena = allocate("activations and workspaces", plan.arenaBytes());
      zero(weights, remainders, gradients, leaves);
      plan.units().forEach((name, unit) -> programs.put(name, bind(unit)));
    } catch (RuntimeException | Error e) {
      try {
        close();
      } catch (KernelException lost) {
        e.addSuppressed(lost);
      }
      throw e;
    }
  }

  /**
   * Memory of the executor's device, which the caller frees; null for no bytes.
   *
   * @param what it is for, for errors
   * @throws KernelException.OutOfMemory with what was asked for and why, what the plan needs and what is
   *     free
   */
  public Memory allocate(String what, long bytes) {
    if (bytes == 0) {
      return null;
    }
    try {
      return Memory.allocate(stream.device(), bytes);
    } catch (KernelException.OutOfMemory e) {
      Memory.Room room = Memory.room(stream.device());
      throw e.at(
          "%s: asked for %d bytes for %s, of %d that the model's plan needs; %d of %d bytes are free"
              .formatted(
                  stream.device(),
                  bytes,
                  what,
                  plan.bytes(),
                  room.freeBytes(),
                  room.totalBytes()));
    }
  }

  /** Gaps between weights count as zero; memory of the CPU is zero as it comes. */
  private void zero(Memory... memories) {
    for (Memory memory : memories) {
      if (memory != null && stream.device().kind() != Device.Kind.CPU) {
        stream.fill(memory.address(), 0, memory.bytes());
      }
    }
  }

  private Program bind(Plan.Unit unit) {
    List<Launch> launches = new ArrayList<>();
    List<Node> nodes = new ArrayList<>();
    Map<Tensor, Tensor> roots = Plan.roots(unit.graph());
    long[] tickets = new long[unit.graph().nodes().size()]; // of exchanges, by their tags
    for (int i = 0; i < unit.graph().nodes().size(); i++) {
      Node node = unit.graph().nodes().get(i);
      try {
        for (Launch launch : node.op().launches(node, new Bound(unit, roots, i, tickets))) {
          launches.add(launch);
          nodes.add(node);
        }
      } catch (KernelException e) {
        throw e.at(node.toString());
      }
    }
    int[] bounds =
        launches.stream()
            .mapToInt(Launch::above)
            .filter(bound -> bound != Launch.ALWAYS)
            .distinct()
            .sorted()
            .toArray();
    Replay[] variants = new Replay[bounds.length + 1];
    Program program =
        new Program(
            launches.toArray(Launch[]::new), nodes.toArray(Node[]::new), bounds, variants);
    boolean records = nodes.stream().noneMatch(node -> node.op().readsOnHost());
    for (int passed = 0; passed < variants.length; passed++) {
      int targets = passed == 0 ? 0 : bounds[passed - 1] + 1;
      variants[passed] = new Replay(stream, () -> launch(program, targets), records);
    }
    return program;
  }

  /**
   * Runs a unit.
   *
   * @param unit its name in the plan
   * @param targets how many target rows are in use
   * @throws KernelException naming the node that failed
   */
  public void run(String unit, int targets) {
    try {
      programs.get(unit).variant(targets).run();
    } catch (KernelException e) {
      throw e.at(unit);
    }
  }

  private void launch(Program program, int targets) {
    int i = 0;
    try {
      for (; i < program.launches.length; i++) {
        if (targets > program.launches[i].above()) {
          launch(program.launches[i], program.nodes[i]);
        }
      }
    } catch (KernelException e) {
      throw located(e, program.nodes[i].toString());
    }
  }

  /** Launches work that belongs to no node of the plan as nodes are launched, under a name. */
  public void launch(String name, Launch work) {
    try {
      launch(work, name);
    } catch (KernelException e) {
      throw located(e, name);
    }
  }

  /** A device tells of its failure whenever it is asked next, unless every launch is waited for. */
  private KernelException located(KernelException e, String name) {
    boolean late = e instanceof KernelException.DeviceLost && mode != LaunchMode.WAIT;
    return e.at(late ? "noticed at " + name : name);
  }

  private void launch(Launch launch, Object name) {
    if (mode == LaunchMode.RANGES) {
      Ranges.push(stream.device().kind(), name.toString());
    }
    launch.run(stream);
    if (mode == LaunchMode.RANGES) {
      Ranges.pop(stream.device().kind());
    }
    if (mode == LaunchMode.WAIT) {
      stream.synchronize();
    }
  }

  /**
   * Runs a unit by plain launches and calls {@code after} with each node when it is done: to find what
   * went wrong where.
   */
  public void trace(String unit, int targets, Consumer<Node> after) {
    Program program = programs.get(unit);
    for (int i = 0; i < program.launches.length; i++) {
      if (targets > program.launches[i].above()) {
        program.launches[i].run(stream);
      }
      boolean last = i + 1 == program.launches.length || program.nodes[i + 1] != program.nodes[i];
      if (last) {
        stream.synchronize();
        after.accept(program.nodes[i]);
      }
    }
  }

  /** Who computes the matrix products. */
  public Products products() {
    return products;
  }

  /** The rank's end of its groups. */
  public Collectives ranks() {
    return ranks;
  }

  /** How work reaches the device. */
  public LaunchMode launches() {
    return mode;
  }

  /** The stream that everything runs on. */
  public Stream stream() {
    return stream;
  }

  /** The plan that was bound. */
  public Plan plan() {
    return plan;
  }

  /**
   * One weight. Where ranks keep parts of weights, its place in the arena, where it is whole between
   * steps when {@link Shards} has gathered its bucket.
   */
  public TensorRef weight(String name) {
    FlatLayout.Slot slot = plan.weights().slot(name);
    FlatLayout.Bucket bucket = plan.weights().bucket(name);
    boolean kept = plan.sharding().weights();
    boolean parts = kept && bucket.parts() > 1;
    long first = parts ? 0 : kept ? bucket.kept() : bucket.offset();
    long offset = first + slot.offset() - bucket.offset();
    return exact(parts ? arena : weights, offset * plan.storage().bytes(), slot.type());
  }

  /** The lower half of one split master, u16, of a rank that keeps them whole. */
  public TensorRef remainder(String name) {
    FlatLayout.Slot slot = plan.weights().slot(name);
    TensorType type = new TensorType(DType.U16, slot.type().shape());
    return exact(remainders, slot.offset() * DType.U16.bytes(), type);
  }

  /** What this rank keeps and updates. */
  public Shards shards() {
    return new Shards(this, weights, remainders, gradients, arena);
  }

  /** All weights that are kept here, as one row, gaps included. */
  public TensorRef weights() {
    return flat(weights, plan.storage());
  }

  /** All remainders of split masters here; null when weights are float32 or not trained. */
  public TensorRef remainders() {
    return flat(remainders, DType.U16);
  }

  /** All gradients that are kept here; null when nothing is trained. */
  public TensorRef gradients() {
    return flat(gradients, DType.F32);
  }

  /** The gradient of one weight, f32. */
  public TensorRef gradient(String name) {
    FlatLayout.Slot slot = plan.weights().slot(name);
    TensorType type = TensorType.f32(slot.type().shape());
    return exact(gradients, slot.offset() * DType.F32.bytes(), type);
  }

  /** A range of a buffer that is laid out as the weights are. */
  private TensorRef flat(Memory memory, DType dtype) {
    return memory == null ? null : TensorRef.in(memory, 0, dtype, memory.bytes() / dtype.bytes());
  }

  /** All inputs, which the host uploads by one copy. */
  public TensorRef inputs() {
    return exact(leaves, 0, TensorType.bytes(plan.inputBytes()));
  }

  /** An input, constant or state by name. */
  public TensorRef leaf(String name, TensorType type) {
    return exact(leaves, plan.leafOffset(name), type);
  }

  /** The memory of a tensor of a unit, valid while the unit runs and for its results afterwards. */
  public TensorRef tensor(String unit, Tensor tensor) {
    Plan.Unit bound = plan.units().get(unit);
    List<Node> nodes = bound.graph().nodes();
    int maker = nodes.size() - 1;
    while (maker > 0 && !nodes.get(maker).outputs().contains(tensor)) {
      maker--;
    }
    return new Bound(bound, Plan.roots(bound.graph()), maker, null).ref(tensor);
  }

  /** Frees the arena and all buffers. */
  @Override
  public void close() {
    for (Program program : programs.values()) {
      for (Replay variant : program.variants) {
        variant.close();
      }
    }
    programs.clear();
    calls.forEach(KernelCall::close);
    calls.clear();
    for (Memory memory : new Memory[] {arena, leaves, gradients, remainders, weights}) {
      if (memory != null) {
        memory.close();
      }
    }
    products.close();
  }

  /** Addresses of one unit's tensors, and of the temporaries of one of its nodes. */
  private final class Bound implements Addresses {
    private final Plan.Unit unit;
    private final Map<Tensor, Tensor> roots;
    private final int node;
    private final long[] tickets;

    Bound(Plan.Unit unit, Map<Tensor, Tensor> roots, int node, long[] tickets) {
      this.unit = unit;
      this.roots = roots;
      this.node = node;
      this.tickets = tickets;
    }

    @Override
    public TensorRef ref(Tensor tensor) {
      TensorType type = tensor.type();
      Tensor root = roots.getOrDefault(tensor, tensor);
      return switch (tensor.role()) {
        case PARAMETER, GRADIENT -> {
          FlatLayout.Slot slot = plan.weights().slot(Windows.parameter(root));
          FlatLayout.Bucket bucket = plan.weights().bucket(slot.name());
          long within = (slot.offset() - bucket.offset()) * root.type().dtype().bytes();
          TensorRef whole = bucket(tensor);
          yield TensorRef.of(whole.address() + within, type.dtype(), type.shape());
        }
        case INPUT, CONSTANT, STATE ->
            exact(leaves, plan.leafOffset(root.name()), type);
        case ACTIVATION ->
            exact(arena, unit.memory().offset(tensor), type);
      };
    }

    @Override
    public TensorRef bucket(Tensor tensor) {
      Tensor leaf = roots.getOrDefault(tensor, tensor);
      DType dtype = leaf.type().dtype();
      FlatLayout.Bucket bucket = plan.weights().bucket(Windows.parameter(leaf));
      boolean weight = leaf.role() == Role.PARAMETER;
      boolean kept = weight ? plan.sharding().weights() : plan.sharding().gradients();
      if (!kept || bucket.parts() == 1) {
        Memory memory = weight ? weights : gradients;
        long first = kept ? bucket.kept() : bucket.offset();
        return TensorRef.of(
            memory.address() + first * dtype.bytes(), dtype, bucket.elements());
      }
      Windows.Window window = unit.windows().at(leaf, plan.weights(), node);
      if (window == null) {
        throw new IllegalStateException(leaf + " is used where it is not whole");
      }
      return TensorRef.of(
          arena.address() + unit.memory().offset(window), dtype, bucket.elements());
    }

    @Override
    public TensorRef part(Tensor tensor) {
      Tensor leaf = roots.getOrDefault(tensor, tensor);
      FlatLayout.Bucket bucket = plan.weights().bucket(Windows.parameter(leaf));
      return Shards.part(bucket(tensor), ranks.rank(bucket.axis()), bucket.parts());
    }

    @Override
    public TensorRef kept(Tensor tensor) {
      Tensor leaf = roots.getOrDefault(tensor, tensor);
      DType dtype = leaf.type().dtype();
      FlatLayout layout = plan.weights();
      FlatLayout.Bucket bucket = layout.bucket(Windows.parameter(leaf));
      Memory memory = leaf.role() == Role.PARAMETER ? weights : gradients;
      return TensorRef.of(
          memory.address() + layout.keptOffset(bucket) * dtype.bytes(),
          dtype,
          bucket.part());
    }

    @Override
    public TensorRef scratch(int index) {
      TensorType type = unit.scratch().get(node).get(index);
      return exact(arena, unit.memory().scratchOffset(node, index), type);
    }

    @Override
    public Launch launch(KernelCall call) {
      calls.add(call);
      long bytes = call.workspaceBytes(stream.device().kind());
      if (bytes > 0) {
        int last = unit.scratch().get(node).size() - 1;
        call.workspace(scratch(last).address(), bytes);
      }
      return call::run;
    }

    @Override
    public Launch launch(Product product) {
      return launch(products.prepare(product));
    }

    @Override
    public Launch begin(Collective collective, int tag) {
      if (ranks.size(collective.axis()) != collective.ranks()) {
        throw KernelException.invalid(
            collective
                + ": planned for "
                + collective.ranks()
                + " ranks, got "
                + ranks.size(collective.axis()));
      }
      return tag == Join.ALL
          ? on -> ranks.begin(on, collective)
          : on -> tickets[tag] = ranks.begin(on, collective);
    }

    @Override
    public int rank(Axis axis) {
      return ranks.rank(axis);
    }

    @Override
    public Launch join(Axis axis, int tag) {
      return tag == Join.ALL
          ? on -> ranks.join(on, axis)
          : on -> ranks.join(on, axis, tickets[tag]);
    }
  }

  /** A tensor that claims no byte more than its own. */
  private static TensorRef exact(Memory memory, long offset, TensorType type) {
    return TensorRef.of(memory.address() + offset, type.dtype(), type.shape());
  }
}
