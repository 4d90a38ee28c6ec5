package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Division.Split;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.SumParts;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tensor-parallel ranks as threads: loss and gradients of one rank. */
class PartitionTest {
  private static final double RELATIVE = 1e-5;

  /** What one rank computed: the loss, and gradients by weight. */
  private record Outcome(double loss, Map<String, double[]> gradients) {}

  /** Models whose heads and width are even. */
  static List<TinyLlama> models() {
    return TinyLlama.all().stream()
        .filter(model -> model.config() instanceof LlamaConfig)
        .filter(model -> llama(model).experts().isEmpty() && !llama(model).qkNorm())
        .toList();
  }

  private static LlamaConfig llama(TinyLlama model) {
    return (LlamaConfig) model.config();
  }

  private static Graph graph(TinyLlama model, Recompute.Policy recompute, Mesh mesh) {
    Graph graph = model.train(DType.F32, recompute, mesh.tensor());
    return Shard.apply(graph, mesh.data());
  }

  private static Outcome run(Graph graph, Values values, DeviceRun run) {
    run.fillArena(DeviceRun.POISON);
    run.load(values);
    run.run(values);
    Map<String, double[]> gradients = new LinkedHashMap<>();
    for (Tensor parameter : graph.leaves(Role.PARAMETER)) {
      gradients.put(parameter.name(), run.gradient(parameter.name()));
    }
    return new Outcome(run.lossSum(), gradients);
  }

  /** Every rank of a mesh on its parts of the same weights, all on the same rows. */
  private static Map<Integer, Outcome> ranks(
      TinyLlama model, Values values, Recompute.Policy recompute, Mesh mesh) {
    Map<Integer, Outcome> outcomes = new ConcurrentHashMap<>();
    RankThreads.run(
        mesh,
        ranks -> {
          Graph graph = graph(model, recompute, mesh);
          Values own = values.copy();
          for (Tensor whole : model.train(DType.F32, recompute).leaves(Role.PARAMETER)) {
            double[] value = values.get(whole.name());
            own.set(whole.name(), part(model, whole, value, mesh, ranks.rank(Axis.TENSOR)));
          }
          try (DeviceRun run = new DeviceRun(graph, 1, ranks)) {
            outcomes.put(ranks.rank(Axis.WORLD), run(graph, own, run));
          }
          return "done";
        });
    return outcomes;
  }

  private static double[] part(
      TinyLlama model, Tensor whole, double[] value, Mesh mesh, int rank) {
    Division division = LlamaWeights.division(llama(model), mesh.tensor());
    long[] shape = division.part(whole.name(), whole.type()).shape();
    boolean columns = division.split().apply(whole.name()) == Split.COLUMNS;
    boolean rows = division.split().apply(whole.name()) == Split.ROWS;
    int width = (int) whole.dim(-1);
    int own = (int) shape[shape.length - 1];
    double[] part = new double[(int) new TensorType(DType.F32, shape).elements()];
    for (int i = 0; i < part.length; i++) {
      part[i] =
          columns
              ? value[i / own * width + rank * own + i % own]
              : value[(rows ? rank * part.length : 0) + i];
    }
    return part;
  }

  private static void assertClose(
      double[] expected, double[] actual, double factor, double scale, String what) {
    assertEquals(expected.length, actual.length, what);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(
          factor * expected[i], actual[i], RELATIVE * factor * scale, what + " " + i);
    }
  }

  /**
   * The largest element of the gradients of a weight's block. Those of keys alone are small
   * differences of large terms, since the soft-max does not see what is added to all keys alike.
   */
  private static double scale(Map<String, double[]> gradients, String name) {
    String block = name.replaceAll("(layers\\.[0-9]+\\.).*", "$1");
    return gradients.entrySet().stream()
        .filter(entry -> entry.getKey().startsWith(block))
        .flatMapToDouble(entry -> Arrays.stream(entry.getValue()))
        .map(Math::abs)
        .max()
        .orElseThrow();
  }

  private static void assertRanksAreOne(TinyLlama model, Recompute.Policy recompute, Mesh mesh) {
    Values values = model.values(DType.F32, 71);
    Graph whole = graph(model, recompute, Mesh.ONE);
    Outcome one;
    try (DeviceRun run = new DeviceRun(whole, 1)) {
      one = run(whole, values, run);
    }
    Map<Integer, Outcome> many = ranks(model, values, recompute, mesh);
    Map<Integer, Outcome> again = ranks(model, values, recompute, mesh);
    assertEquals(mesh.size(), many.size());
    for (int rank = 0; rank < mesh.size(); rank++) {
      Outcome its = many.get(rank);
      assertEquals(one.loss(), its.loss(), RELATIVE * one.loss());
      for (Tensor weight : whole.leaves(Role.PARAMETER)) {
        String name = weight.name();
        double[] expected =
            part(model, weight, one.gradients().get(name), mesh, mesh.tensorRank(rank));
        double[] actual = its.gradients().get(name);
        double scale = scale(one.gradients(), name);
        assertClose(expected, actual, mesh.data(), scale, "rank " + rank + ": " + name);
        assertArrayEquals(actual, again.get(rank).gradients().get(name), name + ", run to run");
        if (!name.contains("proj")) {
          assertArrayEquals(many.get(0).gradients().get(name), actual, name + ", whole everywhere");
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void twoRanksHaveLossAndGradientsOfOne(TinyLlama model) {
    for (Recompute.Policy recompute : TinyLlama.POLICIES) {
      assertRanksAreOne(model, recompute, new Mesh(1, 2));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void dataRanksAddToThem(int model) {
    assertRanksAreOne(models().get(model), Recompute.Policy.SELECTIVE, new Mesh(2, 2));
  }

  @Test
  void oneRankLeavesTheGraphAsItIs() {
    Graph graph = models().get(0).score(DType.F32);
    assertSame(
        graph, Partition.apply(graph, LlamaWeights.division(llama(models().get(0)), 1)));
  }

  /** Two sums of activations a block forward and two backward, none of them computed again. */
  @ParameterizedTest
  @MethodSource("models")
  void aBlockExchangesFourTimes(TinyLlama model) {
    for (Recompute.Policy recompute : TinyLlama.POLICIES) {
      Graph graph = graph(model, recompute, new Mesh(1, 2));
      int layers = model.config().layers();
      assertEquals(2 * layers, count(graph, SumParts.class));
      assertEquals(2 * layers, count(graph, AllReduce.class));
      long activation = graph.leaf("ids").dim(0) * model.config().dModel() * Float.BYTES;
      assertEquals(4 * layers * activation, graph.wireBytes()); // 2 (N-1)/N of each, N = 2
    }
  }

  private static long count(Graph graph, Class<?> op) {
    return graph.nodes().stream().filter(node -> op.isInstance(node.op())).count();
  }

  @Test
  void everyRankHasItsPartOfTheBlocksMemory() {
    TinyLlama model = models().get(0);
    Graph half = graph(model, Recompute.Policy.NONE, new Mesh(1, 2));
    for (Tensor weight : half.leaves(Role.PARAMETER)) {
      Tensor whole = graph(model, Recompute.Policy.NONE, Mesh.ONE).leaf(weight.name());
      int parts = weight.name().contains("proj") ? 2 : 1;
      assertEquals(whole.type().elements(), parts * weight.type().elements(), weight.name());
    }
  }

  @Test
  void whatCannotBeDividedIsRefused() {
    TinyLlama model = models().get(0); // 4 query heads, 2 of keys and values
    assertRefused(model, 3, "the model has 4 query heads, needs a multiple of 3");
    assertRefused(model, 4, "the model has 2 key and value heads, needs a multiple of 4");
  }

  private static void assertRefused(TinyLlama model, int ranks, String reason) {
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () -> model.train(DType.F32, Recompute.Policy.NONE, ranks));
    assertTrue(error.getMessage().endsWith(reason), error.getMessage());
  }
}
