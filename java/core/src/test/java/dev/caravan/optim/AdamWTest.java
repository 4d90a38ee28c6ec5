package dev.caravan.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.caravan.graph.Autodiff;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Graph;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Clipping and AdamW over a model's flat buffers, against the formulas in float64, weight by
 * weight.
 */
class AdamWTest {
  private static final AdamW.Settings SETTINGS =
      new AdamW.Settings(0.9, 0.95, 1e-8, 0.1, DType.F32);
  private static final double LR = 0.01;
  private static final TensorType STATE = TensorType.bytes(256);

  private final Random random = new Random(81);
  private final Stream stream = Stream.open(Device.CPU, 2);
  private Executor executor;
  private StepState state;
  private ClipNorm norm;
  private AdamW adamw;

  /** Weights of odd sizes, so that there are gaps between them; vectors do not decay. */
  private void open(DType storage) {
    Graph graph = new Graph();
    Map<String, long[]> shapes = new LinkedHashMap<>();
    shapes.put("embedding", new long[] {7, 13});
    shapes.put("gain", new long[] {13});
    shapes.put("matrix", new long[] {5, 13});
    shapes.put("bias", new long[] {5});
    shapes.forEach(
        (name, shape) -> {
          graph.leaf(name, new TensorType(storage, shape), Role.PARAMETER);
          graph.leaf(Autodiff.gradientName(name), TensorType.f32(shape), Role.GRADIENT);
        });
    graph.leaf("state", STATE, Role.STATE);
    executor = new Executor(new Plan(Map.of("unit", graph), Device.Kind.CPU), stream);
    state = new StepState(executor.leaf("state", STATE), Device.CPU);
    norm = new ClipNorm(stream, executor.gradients(), state.ref());
    adamw = new AdamW(executor, state.ref(), SETTINGS);
  }

  @AfterEach
  void close() {
    if (executor != null) {
      adamw.close();
      norm.close();
      state.close();
      executor.close();
    }
    stream.close();
  }

  private static ByteBuffer bytes(TensorRef tensor) {
    return Memory.hostView(tensor.address(), Math.toIntExact(tensor.bytes()));
  }

  /** The float32 masters, whatever they are stored as. */
  private double[] masters() {
    ByteBuffer weights = bytes(executor.weights());
    double[] masters = new double[Math.toIntExact(executor.weights().elements())];
    for (int i = 0; i < masters.length; i++) {
      masters[i] =
          executor.weights().dtype() == DType.F32
              ? weights.getFloat(4 * i)
              : Float.intBitsToFloat(
                  (weights.getShort(2 * i) << 16) + bytes(executor.remainders()).getShort(2 * i));
    }
    return masters;
  }

  private void fillWeights() {
    ByteBuffer weights = bytes(executor.weights());
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      for (long i = slot.offset(); i < slot.offset() + slot.count(); i++) {
        float value = (float) random.nextGaussian();
        if (executor.weights().dtype() == DType.F32) {
          weights.putFloat((int) (4 * i), value);
        } else {
          weights.putShort((int) (2 * i), (short) (Float.floatToRawIntBits(value) >>> 16));
        }
      }
    }
  }

  private double[] fillGradients() {
    ByteBuffer gradients = bytes(executor.gradients());
    double[] values = new double[Math.toIntExact(executor.gradients().elements())];
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      for (long i = slot.offset(); i < slot.offset() + slot.count(); i++) {
        values[(int) i] = (float) random.nextGaussian();
        gradients.putFloat((int) (4 * i), (float) values[(int) i]);
      }
    }
    return values;
  }

  private StepState.Result step(long number, double clip) {
    state.begin(stream, number, 5, (float) LR, 1, (float) clip);
    norm.run(stream);
    adamw.step(stream);
    return state.result(stream);
  }

  private static double norm(double[] values) {
    return Math.sqrt(Arrays.stream(values).map(value -> value * value).sum());
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void stepsFollowTheFormula(DType storage) {
    open(storage);
    fillWeights();
    double[] p = masters();
    double[] m = new double[p.length];
    double[] v = new double[p.length];
    for (int t = 1; t <= 5; t++) {
      double clip = t % 2 == 0 ? 1 : 0;
      double[] g = fillGradients();
      double norm = norm(g);
      double factor = clip == 0 ? 1 : Math.min(1, clip / (norm + 1e-6));
      for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
        double decay = slot.type().rank() >= 2 ? SETTINGS.weightDecay() : 0;
        for (int i = (int) slot.offset(); i < slot.offset() + slot.count(); i++) {
          m[i] = 0.9 * m[i] + 0.1 * factor * g[i];
          v[i] = 0.95 * v[i] + 0.05 * factor * g[i] * factor * g[i];
          double mean = m[i] / (1 - Math.pow(0.9, t));
          double square = v[i] / (1 - Math.pow(0.95, t));
          p[i] -= LR * (mean / (Math.sqrt(square) + 1e-8) + decay * p[i]);
        }
      }
      StepState.Result result = step(t, clip);
      assertEquals(norm, result.gradNorm(), 1e-6 * norm);
      assertEquals(factor, result.clipFactor(), 1e-6);
      // A master is a float32: each step rounds it once, and the update of at most lr a few times.
      assertArrayEquals(p, masters(), t * 4 * 0x1p-24, "step " + t);
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY})
  void aGradientThatIsNotFiniteChangesNothing(double bad) {
    open(DType.F32);
    fillWeights();
    fillGradients();
    step(1, 1);
    double[] before = masters();
    double[] moments = moments();
    fillGradients();
    FlatLayout.Slot last = executor.plan().weights().slot("bias");
    bytes(executor.gradients()).putFloat((int) (4 * (last.offset() + 2)), (float) bad);
    assertFalse(step(2, 1).finite());
    assertArrayEquals(before, masters());
    assertArrayEquals(moments, moments());
  }

  private double[] moments() {
    return adamw.state().values().stream()
        .flatMap(tensors -> tensors.values().stream())
        .flatMapToDouble(
            tensor -> {
              ByteBuffer bytes = bytes(tensor);
              return IntStream.range(0, (int) tensor.elements())
                  .mapToDouble(i -> bytes.getFloat(4 * i));
            })
        .toArray();
  }

  @Test
  void gapsBetweenWeightsStayZero() {
    open(DType.F32);
    fillWeights();
    fillGradients();
    step(1, 0);
    double[] masters = masters();
    int next = 0;
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      for (; next < slot.offset(); next++) {
        assertEquals(0, masters[next]);
      }
      next = (int) (slot.offset() + slot.count());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void allocatesWhatItSays(DType moments) {
    open(DType.BF16);
    long before = Memory.stats().liveBytes();
    AdamW.Settings settings = new AdamW.Settings(0.9, 0.95, 1e-8, 0.1, moments);
    try (AdamW other = new AdamW(executor, state.ref(), settings)) {
      assertEquals(
          AdamW.stateBytes(executor.plan().weights(), moments),
          Memory.stats().liveBytes() - before);
      assertEquals(2, other.state().size());
    }
    assertEquals(before, Memory.stats().liveBytes());
  }

  @Test
  void theSavedStateIsEveryMomentOfEveryWeight() {
    open(DType.F32);
    assertEquals(List.of("m", "v"), List.copyOf(adamw.state().keySet()));
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      assertArrayEquals(slot.type().shape(), adamw.state().get("m").get(slot.name()).shape());
      assertEquals(DType.F32, adamw.state().get("v").get(slot.name()).dtype());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void adafactorAllocatesWhatItSays(boolean factored) {
    open(DType.BF16);
    Adafactor.Settings settings = new Adafactor.Settings(0.9, 0.8, 1, false, factored, 0);
    long before = Memory.stats().liveBytes();
    try (Adafactor other = new Adafactor(executor, state.ref(), settings)) {
      assertEquals(
          Adafactor.stateBytes(executor.plan().weights(), settings, Device.Kind.CPU),
          Memory.stats().liveBytes() - before);
      assertEquals(factored, other.state().containsKey("row"));
    }
    assertEquals(before, Memory.stats().liveBytes());
  }
}
