package dev.caravan.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Plan;
import dev.caravan.graph.Recompute;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.model.RopeFrequencies;
import dev.caravan.model.RopeScaling;
import dev.caravan.nn.Inputs;
import dev.caravan.nn.Rotary;
import dev.caravan.oracle.ComposedAttention.Documents;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The loss and every weight's gradient of whole models, on packed buffers, against PyTorch. */
class LlamaTest {
  private static final int POSITIONS = 64;
  private static final float INV_TARGETS = 1f / 29;

  record Case(String name, LlamaConfig config, List<Integer> lengths, int rows, DType storage) {
    @Override
    public String toString() {
      return name + ", " + storage;
    }
  }

  static Stream<Case> cases() {
    List<Integer> lengths = List.of(17, 1, 33, 2);
    List<Integer> full = List.of(0);
    return Stream.of(DType.F32, DType.BF16)
        .flatMap(
            type ->
                Stream.of(
                    new Case("short", model(1, 1, 4, false, false, full), List.of(9, 1), 10, type),
                    new Case("multi-head", model(2, 2, 8, false, false, full), lengths, 60, type),
                    new Case(
                        "grouped, tied", model(4, 2, 16, true, false, full), lengths, 53, type),
                    new Case("biases", model(4, 1, 8, false, true, full), lengths, 60, type),
                    new Case(
                        "windows", model(2, 1, 8, true, false, List.of(5, 0)), lengths, 60, type)));
  }

  /** A small model; with biases it has per-head norms too. */
  private static LlamaConfig model(
      int heads, int kvHeads, int headDim, boolean tied, boolean biased, List<Integer> windows) {
    return new LlamaConfig(
        biased ? "qwen3" : "llama",
        37,
        24,
        2,
        heads,
        kvHeads,
        headDim,
        40,
        1e-5,
        tied,
        biased,
        biased,
        biased,
        biased,
        windows.size() == 2 ? windows : List.of(0, 0),
        10_000,
        new RopeScaling.None(),
        POSITIONS,
        0.02,
        OptionalInt.empty(),
        List.of());
  }

  @ParameterizedTest
  @MethodSource("cases")
  void lossAndGradients(Case c) {
    Torch.seed(c.name().hashCode());
    Buffer buffer = Buffer.random(c);
    LlamaGraphs graphs = new LlamaGraphs(c.config(), c.storage(), POSITIONS);
    for (Recompute.Policy policy :
        List.of(Recompute.Policy.NONE, Recompute.Policy.SELECTIVE, Recompute.Policy.FULL)) {
      // Chunks of 7 target rows, so that the last is not full.
      var graph = graphs.train(c.rows(), c.lengths().size() + 1, 7, policy);
      Plan plan = new Plan(Map.of("micro", graph), Device.Kind.CPU);
      try (Executor executor = new Executor(plan, Ops.STREAM)) {
        compare(c, buffer, graphs, executor);
      }
    }
  }

  private static void compare(Case c, Buffer buffer, LlamaGraphs graphs, Executor executor) {
    Map<String, Tensor> weights = new LinkedHashMap<>();
    ScalarType type = c.storage() == DType.BF16 ? Torch.BF16 : Torch.F32;
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      weights.put(slot.name(), randomWeight(type, slot));
      put(executor.weight(slot.name()), weights.get(slot.name()));
    }
    StepState state =
        new StepState(
            executor.leaf(Inputs.STATE, TensorType.bytes(Inputs.STATE_BYTES)), Device.CPU);
    state.begin(Ops.STREAM, 1, 0, 0, INV_TARGETS, 0);
    buffer.upload(executor, graphs);
    Ops.STREAM.fill(executor.gradients().address(), 0, executor.gradients().bytes());
    executor.run("micro", buffer.targetRows.length);

    Torch.Traced exact = buffer.trace(Torch.F64, c.config(), weights);
    Torch.Traced plain = buffer.trace(type, c.config(), weights);
    // Errors of single targets add up to the loss with signs of their own.
    double sum = exact.value().sum().item_double();
    Tensor errors = plain.value().to(Torch.F64).sub(exact.value()).abs();
    double tolerance = 2 * errors.sum().item_double() + 1e-6 * sum;
    assertEquals(sum, state.result(Ops.STREAM).lossSum(), tolerance, "loss");
    double squares = 0;
    double plainSquares = 0;
    int i = 0;
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      long address = executor.gradients().address() + slot.offset() * Float.BYTES;
      Tensor gradient = Torch.zeros(Torch.F32, slot.type().shape());
      Ops.STREAM.copy(gradient.data_ptr().address(), address, slot.count() * Float.BYTES);
      if (c.storage() == DType.F32) {
        Closeness.MODEL.check(
            "gradient of " + slot.name(), gradient, exact.gradient(i), plain.gradient(i));
      }
      squares += square(Closeness.relativeError(gradient, exact.gradient(i)));
      plainSquares += square(Closeness.relativeError(plain.gradient(i), exact.gradient(i)));
      i++;
    }
    // In bfloat16 single tensors of so small a model are a matter of luck, all together are not.
    assertTrue(
        squares <= 4 * plainSquares || c.storage() == DType.F32,
        "relative error over all gradients: " + Math.sqrt(squares / plainSquares) + " x plain");
    state.close();
  }

  private static double square(double x) {
    return x * x;
  }

  /** Norms around 1, biases around 0, matrices of unit gain. */
  private static Tensor randomWeight(ScalarType type, FlatLayout.Slot slot) {
    long[] shape = slot.type().shape();
    Tensor random = Torch.randn(Torch.F64, shape);
    double width = shape[shape.length - 1];
    double scale = shape.length == 1 ? 0.3 : 1 / Math.sqrt(width);
    double mean = slot.name().contains("norm") ? 1 : 0;
    return random.mul(Torch.number(scale)).add(Torch.number(mean)).to(type);
  }

  private static void put(TensorRef to, Tensor from) {
    Ops.STREAM.copy(to.address(), from.data_ptr().address(), to.bytes());
  }

  /** The rows of one packed buffer. */
  private record Buffer(
      Documents documents, int[] ids, int[] positions, int[] targetRows, int[] targetIds) {

    static Buffer random(Case c) {
      Random random = new Random(c.rows());
      int[] ids = random.ints(c.rows(), 0, c.config().vocab()).toArray();
      int[] positions = new int[c.rows()];
      List<Integer> targets = new ArrayList<>();
      int row = 0;
      for (int length : c.lengths()) {
        for (int i = 0; i < length; i++, row++) {
          positions[row] = i;
          if (row == 1 || random.nextInt(3) > 0) { // a second token's gradient reaches q and k
            targets.add(row);
          }
        }
      }
      int[] targetRows = targets.stream().mapToInt(Integer::intValue).toArray();
      int[] targetIds = random.ints(targetRows.length, 0, c.config().vocab()).toArray();
      Documents documents = ComposedLlama.packed(c.lengths());
      return new Buffer(documents, ids, positions, targetRows, targetIds);
    }

    void upload(Executor executor, LlamaGraphs graphs) {
      int rows = ids.length;
      int[] borders = documents.cuQueries();
      put(executor, "ids", rows, ids);
      put(executor, "positions", rows, positions);
      // One document more than there are: the table is padded with its last value.
      int[] padded = Arrays.copyOf(borders, borders.length + 1);
      padded[borders.length] = borders[borders.length - 1];
      put(executor, "documents", padded.length, padded);
      put(executor, "tokens", 1, documents.queryRows());
      put(executor, "target_rows", rows, targetRows);
      put(executor, "target_ids", rows, targetIds);
      put(executor, "targets", 1, targetRows.length);
      RopeFrequencies frequencies = RopeFrequencies.of((LlamaConfig) graphs.config(), POSITIONS);
      int[] all = new int[POSITIONS];
      Arrays.setAll(all, i -> i);
      Tensor angles = ComposedLlama.angles(all, frequencies.inverse());
      LlamaTest.put(executor.leaf(Rotary.COS, graphs.rotaryType()), angles.cos().to(Torch.F32));
      LlamaTest.put(executor.leaf(Rotary.SIN, graphs.rotaryType()), angles.sin().to(Torch.F32));
    }

    private static void put(Executor executor, String name, int extent, int... values) {
      TensorRef ref = executor.leaf(name, TensorType.i32(extent));
      Memory.hostView(ref.address(), (int) ref.bytes()).asIntBuffer().put(values);
    }

    Torch.Traced trace(ScalarType type, LlamaConfig config, Map<String, Tensor> weights) {
      RopeFrequencies frequencies = RopeFrequencies.of(config, POSITIONS);
      int tokens = documents.queryRows();
      ComposedLlama model =
          new ComposedLlama(
              config,
              documents,
              Torch.index(Arrays.copyOf(ids, tokens)),
              ComposedLlama.angles(Arrays.copyOf(positions, tokens), frequencies.inverse()),
              Torch.index(targetRows),
              Torch.index(targetIds));
      List<String> names = List.copyOf(weights.keySet());
      Torch.Expression nll =
          in -> {
            Map<String, Tensor> named = new LinkedHashMap<>();
            for (int i = 0; i < in.length; i++) {
              named.put(names.get(i), in[i]);
            }
            return model.nll(named);
          };
      Tensor weight = Torch.full(Torch.F64, INV_TARGETS, targetRows.length);
      return Torch.trace(type, nll, weight, weights.values().toArray(Tensor[]::new));
    }
  }
}
