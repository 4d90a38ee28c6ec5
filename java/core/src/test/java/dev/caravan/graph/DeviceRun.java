package dev.caravan.graph;

import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.nn.Inputs;
import dev.caravan.ops.Node;
import dev.caravan.ops.References;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A graph in the real executor on the CPU, with leaves written from float64 and results read back.
 */
final class DeviceRun implements AutoCloseable {
  /**
   * Every byte of float32, bfloat16 and int32 that a careless op would stumble over: NaN, NaN, -1.
   */
  static final int POISON = 0xff;

  /** Names of the inputs of a packed buffer. */
  static final List<String> INPUTS =
      List.of("ids", "positions", "documents", "tokens", "target_rows", "target_ids", "targets");

  private static final String UNIT = "unit";

  private final Graph graph;
  private final Stream stream;
  private final Executor executor;

  DeviceRun(Graph graph, int threads) {
    this(graph, threads, Collectives.ALONE);
  }

  /** One of several ranks. */
  DeviceRun(Graph graph, int threads, Collectives ranks) {
    this(graph, new Plan(Map.of(UNIT, graph), Device.Kind.CPU), threads, ranks);
  }

  private DeviceRun(Graph graph, Plan plan, int threads, Collectives ranks) {
    Blas.install();
    this.graph = graph;
    stream = Stream.open(Device.CPU, threads);
    executor = new Executor(plan, stream, ranks);
  }

  /**
   * A run whose memory plan is broken: it was made for a graph in which the last node of an op does
   * not read one of its inputs.
   */
  static DeviceRun forgetting(Graph graph, String op, int input) {
    Plan plan = new Plan(Map.of(UNIT, graph), Device.Kind.CPU);
    Graph blind = Graph.withLeavesOf(graph);
    Tensor leaf = graph.leaves().get(0);
    int last = -1;
    for (int i = 0; i < graph.nodes().size(); i++) {
      last = graph.nodes().get(i).op().name().equals(op) ? i : last;
    }
    for (int i = 0; i < graph.nodes().size(); i++) {
      Node node = graph.nodes().get(i);
      List<Tensor> inputs = new ArrayList<>(node.inputs());
      if (i == last) {
        inputs.set(input, leaf);
      }
      blind.keep(new Node(node.op(), inputs, node.outputs(), node.scope(), node.block()));
    }
    List<List<TensorType>> scratch = plan.units().get(UNIT).scratch();
    plan.units().put(UNIT, new Plan.Unit(graph, MemoryPlan.of(blind, scratch), scratch));
    return new DeviceRun(graph, plan, 1, Collectives.ALONE);
  }

  /** Runs a graph once on values, with a poisoned arena; the caller closes it. */
  static DeviceRun of(Graph graph, Values values, int threads) {
    DeviceRun run = new DeviceRun(graph, threads);
    run.fillArena(POISON);
    run.load(values);
    run.run(values);
    return run;
  }

  Executor executor() {
    return executor;
  }

  Stream stream() {
    return stream;
  }

  Plan plan() {
    return executor.plan();
  }

  MemoryPlan memory() {
    return plan().units().get(UNIT).memory();
  }

  /** Sets every byte of the arena. */
  void fillArena(int value) {
    for (var node : graph.nodes()) {
      for (Tensor tensor : node.outputs()) {
        if (tensor.role() == Role.ACTIVATION) {
          long first = executor.tensor(UNIT, tensor).address() - memory().offset(tensor);
          stream.fill(first, value, plan().arenaBytes());
          return;
        }
      }
    }
  }

  /** Writes all leaves; gradients and states without a value are set to zero. */
  void load(Values values) {
    for (Tensor leaf : graph.leaves()) {
      if (leaf.name().equals(Inputs.STATE)) {
        double[] state = values.get(leaf.name());
        try (StepState step = new StepState(executor.leaf(leaf.name(), leaf.type()), Device.CPU)) {
          step.begin(
              stream,
              1,
              0,
              0,
              (float) state[References.INV_TARGETS],
              (float) state[References.INV_TOKENS],
              0);
        }
      } else if (!values.has(leaf.name())
          && (leaf.role() == Role.GRADIENT || leaf.role() == Role.STATE)) {
        stream.fill(address(leaf).address(), 0, address(leaf).bytes());
      } else {
        write(address(leaf), values.get(leaf.name()));
      }
    }
  }

  /** Writes the inputs of a packed buffer alone, as between two micro-batches. */
  void loadInputs(Values values) {
    INPUTS.forEach(name -> write(address(graph.leaf(name)), values.get(name)));
  }

  /** Runs the graph on what was loaded. */
  void run(Values values) {
    run(values.has("targets") ? (int) values.get("targets")[0] : 0);
  }

  void run(int targets) {
    executor.run(UNIT, targets);
  }

  private TensorRef address(Tensor leaf) {
    return executor.tensor(UNIT, leaf);
  }

  /** The value of a tensor. */
  double[] value(Tensor tensor) {
    return read(executor.tensor(UNIT, tensor));
  }

  /** The gradient of a weight. */
  double[] gradient(String parameter) {
    return value(graph.leaf(Autodiff.gradientName(parameter)));
  }

  /** The sum of the loss in the step state. */
  double lossSum() {
    TensorType type = TensorType.bytes(Inputs.STATE_BYTES);
    try (StepState step = new StepState(executor.leaf(Inputs.STATE, type), Device.CPU)) {
      return step.result(stream).lossSum();
    }
  }

  static double[] read(TensorRef tensor) {
    ByteBuffer bytes = view(tensor);
    double[] value = new double[Math.toIntExact(tensor.elements())];
    for (int i = 0; i < value.length; i++) {
      value[i] =
          switch (tensor.dtype()) {
            case F32 -> bytes.getFloat(4 * i);
            case BF16 -> Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
            case I32 -> bytes.getInt(4 * i);
            default -> throw new IllegalArgumentException(tensor + ": is no value");
          };
    }
    return value;
  }

  static void write(TensorRef tensor, double[] value) {
    ByteBuffer bytes = view(tensor);
    for (int i = 0; i < value.length; i++) {
      switch (tensor.dtype()) {
        case F32 -> bytes.putFloat(4 * i, (float) value[i]);
        case BF16 -> bytes.putShort(2 * i, (short) Values.bfloat16(value[i]));
        case I32 -> bytes.putInt(4 * i, (int) value[i]);
        default -> throw new IllegalArgumentException(tensor + ": is no value");
      }
    }
  }

  private static ByteBuffer view(TensorRef tensor) {
    return Memory.hostView(tensor.address(), Math.toIntExact(tensor.bytes()));
  }

  /** Dtype of weights and activations. */
  DType storage() {
    return plan().storage();
  }

  @Override
  public void close() {
    executor.close();
    stream.close();
  }
}
