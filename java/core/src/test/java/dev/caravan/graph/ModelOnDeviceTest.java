package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole models in the real executor on the CPU. */
class ModelOnDeviceTest {
  static List<TinyLlama> models() {
    return Stream.concat(TinyLlama.all().stream(), Stream.of(TinyLlama.wide())).toList();
  }

  /** Gradients and loss of one run, as they are. */
  private static Map<String, double[]> bits(Graph graph, Values values, int threads, int arena) {
    try (DeviceRun run = new DeviceRun(graph, threads)) {
      run.fillArena(arena);
      run.load(values);
      run.run(values);
      return bits(run, graph);
    }
  }

  private static Map<String, double[]> bits(DeviceRun run, Graph graph) {
    Map<String, double[]> bits = new LinkedHashMap<>();
    for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
      bits.put(gradient.name(), run.value(gradient));
    }
    bits.put("loss", new double[] {run.lossSum()});
    return bits;
  }

  private static void assertSame(
      Map<String, double[]> expected, Map<String, double[]> actual, Object what) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach((name, bits) -> assertArrayEquals(bits, actual.get(name), what + ": " + name));
  }

  @ParameterizedTest
  @MethodSource("models")
  void lossAndGradientsAgreeWithTheReference(TinyLlama model) {
    agree(model, DType.F32);
  }

  /** A rounding of bfloat16 may change a choice of experts; their ops are compared one by one. */
  static List<TinyLlama> dense() {
    return models().stream().filter(model -> model.config().experts().isEmpty()).toList();
  }

  @ParameterizedTest
  @MethodSource("dense")
  void lossAndGradientsAgreeWithTheReferenceInBfloat16(TinyLlama model) {
    agree(model, DType.BF16);
  }

  private static void agree(TinyLlama model, DType storage) {
    Values values = model.values(storage, 21);
    double tolerance = Agreement.ofAModel(storage);
    Agreement.check(model.score(storage), values, tolerance);
    Graph graph = model.train(storage, Recompute.Policy.NONE);
    Agreement.check(graph, values.copy().fillGradients(graph, new Random(22)), tolerance);
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void allRecomputePoliciesGiveTheSameBits(DType storage) {
    for (TinyLlama model : models()) {
      Values values = model.values(storage, 23);
      Map<String, double[]> kept =
          bits(model.train(storage, Recompute.Policy.NONE), values, 2, DeviceRun.POISON);
      for (Recompute.Policy policy : TinyLlama.POLICIES) {
        Graph graph = model.train(storage, policy);
        assertSame(kept, bits(graph, values, 2, DeviceRun.POISON), model + ", " + policy);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void anyNumberOfThreadsAndAnyRunGiveTheSameBits(DType storage) {
    TinyLlama model = TinyLlama.wide();
    Graph graph = model.train(storage, Recompute.Policy.SELECTIVE);
    Values values = model.values(storage, 24);
    Map<String, double[]> one = bits(graph, values, 1, DeviceRun.POISON);
    for (int threads = 1; threads <= 3; threads++) {
      assertSame(one, bits(graph, values, threads, DeviceRun.POISON), threads + " threads");
    }
  }

  @Test
  void everythingIsWrittenBeforeItIsRead() {
    for (TinyLlama model : models()) {
      for (Recompute.Policy policy : TinyLlama.POLICIES) {
        Graph graph = model.train(DType.F32, policy);
        Values values = model.values(DType.F32, 25);
        Map<String, double[]> clean = bits(graph, values, 2, 0);
        assertSame(clean, bits(graph, values, 2, DeviceRun.POISON), model + ", " + policy);
      }
    }
  }

  /**
   * A plan that forgets one reader lets somebody else write there first: the results must show it.
   */
  @Test
  void aPlanThatForgetsAReaderGivesOtherResults() {
    TinyLlama model = TinyLlama.wide();
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE);
    Values values = model.values(DType.F32, 26);
    Map<String, double[]> right = bits(graph, values, 2, DeviceRun.POISON);
    try (DeviceRun broken = DeviceRun.forgetting(graph, "swiglu_backward", 1)) {
      broken.fillArena(DeviceRun.POISON);
      broken.load(values);
      broken.run(values);
      assertThrows(
          AssertionError.class, () -> assertSame(right, bits(broken, graph), "broken plan"));
    }
  }

  @Test
  void gradientsAddUpOverBuffers() {
    TinyLlama model = TinyLlama.wide();
    Graph graph = model.train(DType.F32, Recompute.Policy.FULL);
    Random random = new Random(27);
    Values values = model.values(DType.F32, 28);
    Values expected = values.copy();
    try (DeviceRun run = new DeviceRun(graph, 2)) {
      run.load(values);
      run.run(values);
      new ReferenceExecutor(graph, expected).run();
      for (int[] lengths : new int[][] {{177, 0, 0, 0, 0}, {3, 3, 3, 3, 3}}) {
        TinyLlama other = model.with(lengths[0] > 80 ? new int[] {80, 80, 17} : lengths);
        Values buffer = other.buffer(values, random);
        run.loadInputs(buffer);
        run.run(buffer);
        for (String input : DeviceRun.INPUTS) {
          expected.set(input, buffer.get(input));
        }
        new ReferenceExecutor(graph, expected).run();
      }
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        Agreement.close(
            expected.get(gradient.name()),
            run.value(gradient),
            Agreement.ofAModel(DType.F32),
            gradient.name());
      }
    }
  }

  @Test
  void aPackedBufferGivesTheSumOfItsDocuments() {
    TinyLlama model = TinyLlama.wide();
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE);
    Values values = model.values(DType.F32, 29);
    Map<String, double[]> packed = bits(graph, values, 2, DeviceRun.POISON);
    Map<String, double[]> alone;
    try (DeviceRun run = new DeviceRun(graph, 2)) {
      run.load(values);
      double[] starts = values.get("documents").clone();
      for (int d = 0; d < model.lengths().length; d++) {
        Values one = Unpacked.document(values, starts, d);
        run.loadInputs(one);
        run.run(one);
      }
      alone = bits(run, graph);
    }
    packed.forEach(
        (name, sum) -> Agreement.close(sum, alone.get(name), Agreement.ofAModel(DType.F32), name));
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void aBufferWithoutTargetsAddsExactlyNothing(DType storage) {
    for (TinyLlama model : models()) {
      Graph graph = model.train(storage, Recompute.Policy.SELECTIVE);
      Values values = model.values(storage, 30).set("targets", 0);
      bits(graph, values, 2, DeviceRun.POISON)
          .forEach((name, bits) -> assertArrayEquals(new double[bits.length], bits, name));
      values.fillGradients(graph, new Random(31));
      Map<String, double[]> after = bits(graph, values, 2, DeviceRun.POISON);
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        assertArrayEquals(values.get(gradient.name()), after.get(gradient.name()));
      }
    }
  }

  @Test
  void anEmptyBufferAddsExactlyNothing() {
    for (TinyLlama model : models()) {
      TinyLlama empty = model.with();
      Graph graph = empty.train(DType.F32, Recompute.Policy.FULL);
      Values values = empty.values(DType.F32, 32);
      assertEquals(0, values.get("tokens")[0]);
      bits(graph, values, 2, DeviceRun.POISON)
          .forEach((name, bits) -> assertArrayEquals(new double[bits.length], bits, name));
    }
  }

  @Test
  void whatLiesInPaddingDoesNotMatter() {
    TinyLlama model = TinyLlama.wide();
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE);
    Values values = model.values(DType.F32, 33);
    Map<String, double[]> before = bits(graph, values, 2, DeviceRun.POISON);
    double[] ids = values.get("ids");
    for (int row = model.used(); row < ids.length; row++) {
      ids[row] = (ids[row] + 1) % model.config().vocab();
      values.get("positions")[row] = row % 7;
    }
    int targets = (int) values.get("targets")[0];
    for (int i = targets; i < ids.length; i++) {
      values.get("target_rows")[i] = i % 5;
      values.get("target_ids")[i] = i % 5;
    }
    assertSame(before, bits(graph, values, 2, DeviceRun.POISON), "other padding");
    assertTrue(targets > 0);
  }
}
