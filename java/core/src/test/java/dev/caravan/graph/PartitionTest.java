package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Division.Split;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Balance;
import dev.caravan.model.ExpertLosses;
import dev.caravan.model.ExpertsConfig;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Node;
import dev.caravan.ops.SumParts;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
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

  /** Models whose heads and widths are even. */
  static List<TinyLlama> models() {
    return TinyLlama.all();
  }

  /** Norms over all heads of a layer: of the queries, and of the keys. */
  private static int wideNorms(TinyLlama model) {
    boolean wide = model.config() instanceof LlamaConfig llama && llama.wideQkNorm();
    return wide ? 2 * model.config().layers() : 0;
  }

  static List<TinyLlama> dense() {
    return models().stream().filter(model -> model.config().experts().isEmpty()).toList();
  }

  static List<TinyLlama> sparse() {
    return models().stream().filter(model -> model.config().experts().isPresent()).toList();
  }

  /** Dense ones, of a vocabulary that is a multiple of so many ranks. */
  static List<TinyLlama> even() {
    return dense().stream().map(model -> model.withVocabulary(60)).toList();
  }

  /** The vocabulary alone, among ranks that may have no multiple of the heads. */
  private static Division vocabulary(TinyLlama model, int ranks) {
    return new Division(ranks, name -> Split.WHOLE)
        .withRows(LlamaWeights.vocabulary(model.config()));
  }

  private static Division division(TinyLlama model, Mesh mesh) {
    return model.config().division(mesh.tensor());
  }

  private static Graph graph(TinyLlama model, Recompute.Policy recompute, Mesh mesh) {
    return graph(model, DType.F32, recompute, mesh, division(model, mesh));
  }

  private static Graph graph(
      TinyLlama model, DType storage, Recompute.Policy recompute, Mesh mesh, Division division) {
    return Shard.apply(model.train(storage, recompute, division), mesh.data());
  }

  private static Graph graph(
      TinyLlama model,
      Recompute.Policy recompute,
      Mesh mesh,
      Division division,
      ExpertLosses losses) {
    return Shard.apply(
        model.train(DType.F32, recompute, mesh, division, losses), mesh.data());
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
      Values values, Graph model, Graph graph, Division division, Mesh mesh) {
    Map<Integer, Outcome> outcomes = new ConcurrentHashMap<>();
    RankThreads.run(
        mesh,
        ranks -> {
          Values own = values.copy();
          for (Tensor whole : model.leaves(Role.PARAMETER)) {
            double[] value = values.get(whole.name());
            own.set(whole.name(), part(division, whole, value, ranks.rank(Axis.TENSOR)));
          }
          try (DeviceRun run = new DeviceRun(graph, 1, ranks)) {
            outcomes.put(ranks.rank(Axis.WORLD), run(graph, own, run));
          }
          return "done";
        });
    return outcomes;
  }

  /** A rank's part of a weight, element by element. */
  static double[] part(Division division, Tensor whole, double[] value, int rank) {
    Split split = division.split().apply(whole.name());
    if (!split.cuts()) {
      return value;
    }
    TensorType type = whole.type();
    long axis =
        switch (split) {
          case COLUMNS -> type.rank() - 1;
          case EXPERT_ROWS, EXPERT_PAIRS -> 1;
          default -> 0;
        };
    long behind = 1;
    for (int i = (int) axis + 1; i < type.rank(); i++) {
      behind *= type.dim(i);
    }
    long period = split == Split.EXPERT_PAIRS ? type.dim(1) / 2 : type.dim((int) axis);
    double[] part = new double[value.length / division.ranks()];
    int next = 0;
    for (int i = 0; i < value.length; i++) {
      if (i / behind % period / (period / division.ranks()) == rank) {
        part[next++] = value[i];
      }
    }
    assertEquals(part.length, next, whole.name());
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

  /** The beginning of the names of a weight's block; the whole name where it is in none. */
  private static String block(String name) {
    return name.replaceAll("(layers\\.[0-9]+\\.).*", "$1");
  }

  /**
   * The largest element of the gradients of a weight's block. Those of keys alone are small
   * differences of large terms, since the soft-max does not see what is added to all keys alike.
   */
  private static double scale(Map<String, double[]> gradients, String name) {
    return gradients.entrySet().stream()
        .filter(entry -> entry.getKey().startsWith(block(name)))
        .flatMapToDouble(entry -> Arrays.stream(entry.getValue()))
        .map(Math::abs)
        .max()
        .orElseThrow();
  }

  private static void assertRanksAreOne(TinyLlama model, Recompute.Policy recompute, Mesh mesh) {
    assertRanksAreOne(model, recompute, mesh, division(model, mesh));
  }

  private static void assertRanksAreOne(
      TinyLlama model, Recompute.Policy recompute, Mesh mesh, Division division) {
    assertRanksAreOne(model, recompute, mesh, division, ExpertLosses.NONE);
  }

  private static void assertRanksAreOne(
      TinyLlama model,
      Recompute.Policy recompute,
      Mesh mesh,
      Division division,
      ExpertLosses losses) {
    Values values = model.values(DType.F32, 71);
    Graph whole = graph(model, recompute, Mesh.ONE, Division.NONE, losses);
    Graph graph = graph(model, recompute, mesh, division, losses);
    Outcome one = one(whole, values);
    Map<Integer, Outcome> many = ranks(values, whole, graph, division, mesh);
    Map<Integer, Outcome> again = ranks(values, whole, graph, division, mesh);
    assertEquals(mesh.size(), many.size());
    for (int rank = 0; rank < mesh.size(); rank++) {
      Outcome its = many.get(rank);
      assertEquals(one.loss(), its.loss(), RELATIVE * one.loss());
      for (Tensor weight : whole.leaves(Role.PARAMETER)) {
        String name = weight.name();
        double[] expected =
            part(division, weight, one.gradients().get(name), mesh.tensorRank(rank));
        double[] actual = its.gradients().get(name);
        double scale = scale(one.gradients(), name);
        Split split = division.split().apply(name);
        double[] sum = split == Split.SHARED ? sum(many, name, mesh) : actual;
        assertClose(expected, sum, mesh.data(), scale, "rank " + rank + ": " + name);
        assertArrayEquals(actual, again.get(rank).gradients().get(name), name + ", run to run");
        if (split == Split.WHOLE) {
          assertArrayEquals(many.get(0).gradients().get(name), actual, name + ", whole everywhere");
        }
      }
    }
  }

  /** The sum of the terms that the tensor-parallel ranks have of a gradient. */
  private static double[] sum(Map<Integer, Outcome> ranks, String name, Mesh mesh) {
    double[] sum = null;
    for (int rank : mesh.group(Axis.TENSOR, 0)) {
      double[] term = ranks.get(rank).gradients().get(name);
      sum = sum == null ? new double[term.length] : sum;
      for (int i = 0; i < sum.length; i++) {
        sum[i] += term[i];
      }
    }
    return sum;
  }

  private static Outcome one(Graph whole, Values values) {
    try (DeviceRun run = new DeviceRun(whole, 1)) {
      return run(whole, values, run);
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void twoRanksHaveLossAndGradientsOfOne(TinyLlama model) {
    for (Recompute.Policy recompute : TinyLlama.POLICIES) {
      assertRanksAreOne(model, recompute, new Mesh(1, 2));
    }
  }

  /** 60 tokens, targets in chunks of 3. */
  @ParameterizedTest
  @MethodSource("even")
  void ranksWithPartsOfTheVocabularyToo(TinyLlama model) {
    for (Recompute.Policy recompute : List.of(Recompute.Policy.NONE, Recompute.Policy.FULL)) {
      assertRanksAreOne(model, recompute, new Mesh(1, 2));
    }
    for (int ranks : new int[] {3, 4, 12}) {
      assertRanksAreOne(
          model, Recompute.Policy.SELECTIVE, new Mesh(1, ranks), vocabulary(model, ranks));
    }
  }

  /**
   * In bfloat16, ranks round the terms of a sum where one rank rounds a sum. Of 1/256 at each rounding, one
   * rank's own gradients are up to 0.036 of a block's largest away from those in float32 (with these
   * weights); those of ranks must be no further from them than twice as much.
   */
  @ParameterizedTest
  @ValueSource(ints = {2, 4})
  void partsOfAVocabularyInBfloat16(int ranks) {
    Mesh mesh = new Mesh(1, ranks);
    for (TinyLlama model : even().subList(0, 2)) {
      Division division = vocabulary(model, ranks);
      Values values = model.values(DType.BF16, 71);
      Graph whole = graph(model, DType.BF16, Recompute.Policy.NONE, Mesh.ONE, Division.NONE);
      Graph graph = graph(model, DType.BF16, Recompute.Policy.NONE, mesh, division);
      Map<String, double[]> exact =
          one(graph(model, DType.F32, Recompute.Policy.NONE, Mesh.ONE, Division.NONE), values)
              .gradients();
      Outcome one = one(whole, values);
      Map<Integer, Outcome> many = ranks(values, whole, graph, division, mesh);
      Map<String, Double> bounds = new HashMap<>(); // by block
      one.gradients()
          .forEach((name, its) -> bounds.merge(block(name), 2 * error(exact.get(name), its), Math::max));
      for (int rank = 0; rank < ranks; rank++) {
        assertEquals(one.loss(), many.get(rank).loss(), RELATIVE * one.loss());
        for (Tensor weight : whole.leaves(Role.PARAMETER)) {
          String name = weight.name();
          double error =
              error(
                  part(division, weight, exact.get(name), rank),
                  many.get(rank).gradients().get(name));
          double bound = bounds.get(block(name));
          assertTrue(error <= bound, name + ": " + error + ", needs at most " + bound);
        }
      }
    }
  }

  /**
   * The same of the width of experts, of heads and of feed-forward layers, by the size of a weight's
   * errors, averaged over some weights and rows: a single largest one is luck, and so is a choice of other
   * experts.
   */
  @ParameterizedTest
  @MethodSource("sparse")
  void partsOfExpertsInBfloat16(TinyLlama choosing) {
    TinyLlama model = choosing.choosingAll();
    Division division = model.config().division(2);
    Mesh mesh = new Mesh(1, 2);
    Graph wide = graph(model, DType.F32, Recompute.Policy.NONE, Mesh.ONE, Division.NONE);
    Graph whole = graph(model, DType.BF16, Recompute.Policy.NONE, Mesh.ONE, Division.NONE);
    Graph graph = graph(model, DType.BF16, Recompute.Policy.NONE, mesh, division);
    Map<String, Double> bounds = new HashMap<>(); // by weight
    Map<String, Double> errors = new HashMap<>();
    for (int seed = 71; seed < 87; seed++) {
      Values values = model.values(DType.BF16, seed);
      Map<String, double[]> exact = one(wide, values).gradients();
      Map<String, double[]> one = one(whole, values).gradients();
      Map<Integer, Outcome> many = ranks(values, whole, graph, division, mesh);
      for (Tensor weight : whole.leaves(Role.PARAMETER)) {
        String name = weight.name();
        double[] expected = exact.get(name);
        bounds.merge(name, 2 * Math.sqrt(squares(expected, one.get(name))), Double::sum);
        Split split = division.split().apply(name);
        double squares = 0;
        for (int rank = 0; rank < (split.cuts() ? 2 : 1); rank++) {
          double[] its =
              split == Split.SHARED ? sum(many, name, mesh) : many.get(rank).gradients().get(name);
          squares += squares(part(division, weight, expected, rank), its);
        }
        errors.merge(name, Math.sqrt(squares), Double::sum);
      }
    }
    bounds.forEach(
        (name, bound) -> {
          double error = errors.get(name);
          assertTrue(error <= bound, name + ": " + error + ", needs at most " + bound);
        });
  }

  /** The sum of the squares of all differences. */
  private static double squares(double[] expected, double[] actual) {
    double sum = 0;
    for (int i = 0; i < expected.length; i++) {
      sum += (expected[i] - actual[i]) * (expected[i] - actual[i]);
    }
    return sum;
  }

  /** The largest difference. */
  private static double error(double[] expected, double[] actual) {
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i] - actual[i]));
    }
    return largest;
  }

  @Test
  void dataRanksAddToPartsOfTheVocabulary() {
    assertRanksAreOne(even().get(1), Recompute.Policy.SELECTIVE, new Mesh(2, 2));
  }

  /** Of logits, each rank has its own classes only; what it hears of others is 12 bytes a row. */
  @ParameterizedTest
  @MethodSource("even")
  void logitsAreNeverWhole(TinyLlama model) {
    Mesh mesh = new Mesh(1, 2);
    Graph graph = graph(model, Recompute.Policy.NONE, mesh);
    long tokens = graph.leaf("ids").dim(0);
    long activation = tokens * model.config().dModel() * Float.BYTES;
    long chunks = (tokens + model.chunk() - 1) / model.chunk();
    long statistics = chunks * model.chunk() * 3 * Float.BYTES;
    // A block's four, the embedding's sum, that of the gradient of what the loss reads, the loss's own.
    long sums = 4L * model.config().layers() + 2;
    assertEquals(sums * activation + statistics, graph.wireBytes());
    Graph score = Partition.apply(model.score(DType.F32), division(model, mesh));
    int vocab = model.config().vocab(); // as long as no other axis, and so is its half
    for (Graph unit : List.of(graph, score)) {
      long most = 0;
      for (Node node : unit.nodes()) {
        for (TensorType type : types(node)) {
          assertTrue(Arrays.stream(type.shape()).noneMatch(n -> n == vocab), node + ": " + type);
          most = type.dim(-1) == vocab / 2 ? Math.max(most, type.dim(0)) : most;
        }
      }
      assertEquals(model.chunk(), most, "rows of logits at once");
      for (String name : LlamaWeights.vocabulary(model.config())) {
        assertEquals(vocab / 2, unit.leaf(name).dim(0), name);
      }
    }
  }

  /** Of everything that a node reads, makes, or needs meanwhile. */
  private static List<TensorType> types(Node node) {
    List<TensorType> types = new ArrayList<>(node.op().scratch(node));
    node.inputs().forEach(tensor -> types.add(tensor.type()));
    node.outputs().forEach(tensor -> types.add(tensor.type()));
    return types;
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama, untied", "biases everywhere, as llama may have", "mixtral: experts"})
  void dataRanksAddToThem(String name) {
    TinyLlama model =
        models().stream().filter(its -> its.name().equals(name)).findFirst().orElseThrow();
    assertRanksAreOne(model, Recompute.Policy.SELECTIVE, new Mesh(2, 2));
  }

  @Test
  void oneRankLeavesTheGraphAsItIs() {
    TinyLlama model = models().get(0);
    Graph graph = model.score(DType.F32);
    assertSame(graph, Partition.apply(graph, model.config().division(1)));
  }

  /** Balance losses, whose gradient is whole on every rank, and drops that are alike on all. */
  @ParameterizedTest
  @MethodSource("sparse")
  void lossesOfExpertsCountOnce(TinyLlama model) {
    Mesh mesh = new Mesh(1, 2);
    Division division = division(model, mesh);
    ExpertLosses dropping = new ExpertLosses(Balance.FIRST, 0.5, 0.25, 0.75, 0);
    for (Recompute.Policy recompute : List.of(Recompute.Policy.NONE, Recompute.Policy.FULL)) {
      assertRanksAreOne(
          model, recompute, mesh, division, new ExpertLosses(Balance.CHOSEN, 0.5, 0.25, 0, 0));
      assertRanksAreOne(model, recompute, mesh, division, dropping);
    }
  }

  /**
   * What a sparse layer exchanges: one sum forward, of a shared expert's too, and backward those of its
   * input's gradient and of the choices' weights. Norms over all heads exchange a number a row each way.
   */
  @ParameterizedTest
  @MethodSource("sparse")
  void aSparseLayerExchangesGradientsOfItsChoicesToo(TinyLlama model) {
    ExpertsConfig experts = model.config().experts().orElseThrow();
    int shared = experts.shared() > 0 ? 1 : 0;
    for (Recompute.Policy recompute : TinyLlama.POLICIES) {
      Graph graph = graph(model, recompute, new Mesh(1, 2));
      int layers = model.config().layers();
      assertEquals(2 * layers, count(graph, SumParts.class));
      assertEquals(
          2 * layers + (1 + shared) * experts.layers() + 2 * wideNorms(model),
          count(graph, AllReduce.class));
      long tokens = graph.leaf("ids").dim(0);
      long activations = 4 * layers * tokens * model.config().dModel();
      long weights = experts.layers() * tokens * (experts.choices() + shared);
      long norms = 2 * wideNorms(model) * tokens;
      assertEquals((activations + weights + norms) * Float.BYTES, graph.wireBytes());
    }
  }

  /** Two sums of activations a block forward and two backward, none of them computed again. */
  @ParameterizedTest
  @MethodSource("dense")
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

  @ParameterizedTest
  @MethodSource("models")
  void everyRankHasItsPartOfTheBlocksMemory(TinyLlama model) {
    Graph half = graph(model, Recompute.Policy.NONE, new Mesh(1, 2));
    Graph one = graph(model, Recompute.Policy.NONE, Mesh.ONE);
    for (Tensor weight : half.leaves(Role.PARAMETER)) {
      Tensor whole = one.leaf(weight.name());
      boolean summed = weight.name().matches(".*(o|down)_proj.bias"); // behind the sum
      boolean divided =
          weight.name().matches(".*(_proj|relative_attention_bias).*")
              || weight.name().matches(".*[qk]_norm.*") && wideNorms(model) > 0;
      int parts = divided && !summed ? 2 : 1;
      assertEquals(whole.type().elements(), parts * weight.type().elements(), weight.name());
    }
  }

  @Test
  void whatCannotBeDividedIsRefused() {
    TinyLlama model = models().get(0); // 4 query heads, 2 of keys and values
    assertRefused(model, 3, "the model has 4 query heads, needs a multiple of 3");
    assertRefused(model, 4, "the model has 2 key and value heads, needs a multiple of 4");
    assertRefused(
        model.withExperts(experts(5, 0)),
        2,
        "the model has 5 columns of an expert, needs a multiple of 2");
    assertRefused(
        model.withExperts(experts(6, 3)),
        2,
        "the model has 3 columns of the shared expert, needs a multiple of 2");
  }

  private static ExpertsConfig experts(int width, int shared) {
    List<Boolean> layers = List.of(true, true, true);
    return new ExpertsConfig(
        4, 2, width, Experts.Activation.SWIGLU, true, layers, 0, "mlp", shared);
  }

  private static void assertRefused(TinyLlama model, int ranks, String reason) {
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () -> model.train(DType.F32, Recompute.Policy.NONE, ranks));
    assertTrue(error.getMessage().endsWith(reason), error.getMessage());
  }
}
