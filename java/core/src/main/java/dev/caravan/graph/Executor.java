package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.ops.Addresses;
import dev.caravan.ops.Launch;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A plan on a device: allocates what it says, prepares every kernel call once, and replays them. Running
 * a unit allocates nothing, native or Java.
 */
public final class Executor implements AutoCloseable {
  private final Plan plan;
  private final Stream stream;
  private final Memory weights;
  private final Memory remainders;
  private final Memory gradients;
  private final Memory leaves;
  private final Memory arena;
  private final List<KernelCall> calls = new ArrayList<>();
  private final Map<String, Program> programs = new LinkedHashMap<>();

  /** The launches of one unit and the node that each belongs to. */
  private record Program(Launch[] launches, Node[] nodes) {}

  /**
   * Allocates and binds; when it fails, it keeps nothing.
   *
   * @throws KernelException.OutOfMemory if the device has less memory than the plan needs
   */
  public Executor(Plan plan, Stream stream) {
    this.plan = plan;
    this.stream = stream;
    Device device = stream.device();
    try {
      weights = allocate(device, plan.weights().elements() * plan.storage().bytes());
      remainders = allocate(device, plan.remainderBytes());
      gradients = allocate(device, plan.gradientBytes());
      leaves = allocate(device, plan.leafBytes());
      arena = allocate(device, plan.arenaBytes());
      plan.units().forEach((name, unit) -> programs.put(name, bind(unit)));
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private static Memory allocate(Device device, long bytes) {
    return bytes == 0 ? null : Memory.allocate(device, bytes);
  }

  private Program bind(Plan.Unit unit) {
    List<Launch> launches = new ArrayList<>();
    List<Node> nodes = new ArrayList<>();
    Map<Tensor, Tensor> roots = Plan.roots(unit.graph());
    for (int i = 0; i < unit.graph().nodes().size(); i++) {
      Node node = unit.graph().nodes().get(i);
      for (Launch launch : node.op().launches(node, new Bound(unit, roots, i))) {
        launches.add(launch);
        nodes.add(node);
      }
    }
    return new Program(launches.toArray(Launch[]::new), nodes.toArray(Node[]::new));
  }

  /**
   * Runs a unit.
   *
   * @param unit its name in the plan
   * @param targets how many target rows are in use
   * @throws KernelException naming the node that failed
   */
  public void run(String unit, int targets) {
    Program program = programs.get(unit);
    int i = 0;
    try {
      for (; i < program.launches.length; i++) {
        program.launches[i].run(stream, targets);
      }
    } catch (KernelException e) {
      throw e.at(program.nodes[i].toString());
    }
  }

  /** Runs a unit and calls {@code after} with each node when it is done: to find what went wrong where. */
  public void trace(String unit, int targets, java.util.function.Consumer<Node> after) {
    Program program = programs.get(unit);
    for (int i = 0; i < program.launches.length; i++) {
      program.launches[i].run(stream, targets);
      boolean last = i + 1 == program.launches.length || program.nodes[i + 1] != program.nodes[i];
      if (last) {
        stream.synchronize();
        after.accept(program.nodes[i]);
      }
    }
  }

  /** The stream that everything runs on. */
  public Stream stream() {
    return stream;
  }

  /** The plan that was bound. */
  public Plan plan() {
    return plan;
  }

  /** One weight. */
  public TensorRef weight(String name) {
    FlatLayout.Slot slot = plan.weights().slot(name);
    return exact(weights, slot.offset() * plan.storage().bytes(), slot.type());
  }

  /** The lower half of one split master, u16. */
  public TensorRef remainder(String name) {
    FlatLayout.Slot slot = plan.weights().slot(name);
    TensorType type = new TensorType(DType.U16, slot.type().shape());
    return exact(remainders, slot.offset() * DType.U16.bytes(), type);
  }

  /** All weights as one row, gaps included. */
  public TensorRef weights() {
    return flat(weights, plan.storage());
  }

  /** All remainders of split masters; null when weights are float32 or not trained. */
  public TensorRef remainders() {
    return flat(remainders, DType.U16);
  }

  /** All gradients; null when nothing is trained. */
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
    return memory == null ? null : TensorRef.in(memory, 0, dtype, plan.weights().elements());
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
    return new Bound(bound, Plan.roots(bound.graph()), -1).ref(tensor);
  }

  /** Frees the arena and all buffers. */
  @Override
  public void close() {
    calls.forEach(KernelCall::close);
    calls.clear();
    for (Memory memory : new Memory[] {arena, leaves, gradients, remainders, weights}) {
      if (memory != null) {
        memory.close();
      }
    }
  }

  /** Addresses of one unit's tensors, and of the temporaries of one of its nodes. */
  private final class Bound implements Addresses {
    private final Plan.Unit unit;
    private final Map<Tensor, Tensor> roots;
    private final int node;

    Bound(Plan.Unit unit, Map<Tensor, Tensor> roots, int node) {
      this.unit = unit;
      this.roots = roots;
      this.node = node;
    }

    @Override
    public TensorRef ref(Tensor tensor) {
      TensorType type = tensor.type();
      Tensor root = roots.getOrDefault(tensor, tensor);
      return switch (tensor.role()) {
        case PARAMETER ->
            exact(weights, offset(root.name(), plan.storage()), type);
        case GRADIENT ->
            exact(gradients, offset(Autodiff.parameterName(root.name()), DType.F32), type);
        case INPUT, CONSTANT, STATE ->
            exact(leaves, plan.leafOffset(root.name()), type);
        case ACTIVATION ->
            exact(arena, unit.memory().offset(tensor), type);
      };
    }

    private long offset(String parameter, DType dtype) {
      return plan.weights().slot(parameter).offset() * dtype.bytes();
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
      return (on, targets) -> call.run(on);
    }
  }

  /** A tensor that claims no byte more than its own. */
  private static TensorRef exact(Memory memory, long offset, TensorType type) {
    return TensorRef.of(memory.address() + offset, type.dtype(), type.shape());
  }
}
