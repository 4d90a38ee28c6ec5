package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.model.Decoder;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.nn.Inputs;
import dev.caravan.nn.Layers;
import dev.caravan.nn.PackedAttention;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import dev.caravan.ops.MatMul;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Going on from a cache against looking at the whole sequence at once. */
class DecodeOnDeviceTest {
  /** Tokens given at once, one call after another; the wide graph is not always full. */
  private static final int[] PIECES = {4, 3, 1, 1, 4, 2};

  private static final int WIDE = 4;
  private static final int LENGTH = Arrays.stream(PIECES).sum();

  static List<TinyLlama> models() {
    return Stream.concat(TinyLlama.all().stream(), Stream.of(TinyLlama.wide())).toList();
  }

  private static LlamaGraphs graphs(TinyLlama model) {
    return new LlamaGraphs(model.config(), DType.F32, LENGTH);
  }

  /** Logits [T, V] of a whole sequence. */
  private static Graph whole(TinyLlama model) {
    Graph graph = new Graph();
    Inputs in = Inputs.packed(graph, LENGTH, 1);
    Rotary rope =
        new Rotary(
            graph,
            in.positions(),
            graph.leaf(Rotary.COS, graphs(model).rotaryType(), Role.CONSTANT),
            graph.leaf(Rotary.SIN, graphs(model).rotaryType(), Role.CONSTANT));
    Layers nn = new Layers(graph, DType.F32, in.tokens());
    SparseExperts experts =
        model
            .config()
            .experts()
            .map(
                e ->
                    new SparseExperts(
                        graph,
                        in.tokens(),
                        e.layers(),
                        e.experts(),
                        e.choices(),
                        e.renormalise(),
                        e.activation(),
                        false,
                        0,
                        0,
                        Experts.Second.ALL))
            .orElse(null);
    Decoder decoder =
        model
            .config()
            .decoder(nn, rope, new PackedAttention(graph, in.documents()), experts);
    Tensor hidden = decoder.hidden(in.ids());
    graph.result(graph.one(MatMul.linear(false, DType.F32), hidden, decoder.output()));
    return graph;
  }

  private static Values sequence(Graph graph, TinyLlama model, Random random) {
    int[] positions = new int[LENGTH];
    Arrays.setAll(positions, i -> i);
    return new Values()
        .set("ids", random.ints(LENGTH, 0, model.config().vocab()).toArray())
        .set("positions", positions)
        .set("documents", 0, LENGTH)
        .set("tokens", LENGTH)
        .set("target_rows", new int[LENGTH])
        .set("target_ids", new int[LENGTH])
        .set("targets", 0)
        .state(1)
        .fillRandom(graph, random, 0.5);
  }

  /** The inputs of one call; its rows beyond {@code count} hold something that must not matter. */
  private static void piece(Graph graph, Values values, double[] ids, int cached, int count) {
    int width = count == 1 ? 1 : WIDE;
    double[] own = new double[width];
    double[] positions = new double[width];
    for (int i = 0; i < width; i++) {
      own[i] = i < count ? ids[cached + i] : 1;
      positions[i] = i < count ? cached + i : 0;
    }
    values.set("ids." + width, own);
    values.set("positions." + width, positions);
    values.set("tokens." + width, count);
    values.set(LlamaGraphs.START, cached);
    values.set(LlamaGraphs.QUERIES, 0, count);
    values.set(LlamaGraphs.KEYS, 0, cached + count);
    values.set(LlamaGraphs.LAST_ROW, count - 1);
    values.set(LlamaGraphs.ONE, 1);
    for (Tensor cache : graph.leaves(Role.STATE)) {
      if (!values.has(cache.name())) {
        values.set(cache.name(), new double[Math.toIntExact(cache.type().elements())]);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void theLogitsAreThoseOfTheWholeSequence(TinyLlama model) {
    Graph whole = whole(model);
    Values values = sequence(whole, model, new Random(51));
    double[] ids = values.get("ids");
    double[] expected = new ReferenceExecutor(whole, values).run().value(whole.results().get(0));
    Values exact = values.copy();
    int cached = 0;
    for (int count : PIECES) {
      int width = count == 1 ? 1 : WIDE;
      Graph graph = graphs(model).decode(width, LENGTH + WIDE);
      piece(graph, values, ids, cached, count);
      piece(graph, exact, ids, cached, count);
      cached += count;
      int vocabulary = model.config().vocab();
      double[] logits =
          Arrays.copyOfRange(expected, (cached - 1) * vocabulary, cached * vocabulary);

      Tensor result = graph.results().get(0);
      double[] meant = new ReferenceExecutor(graph, exact).run().value(result);
      assertArrayEquals(logits, meant, 1e-12, "float64, after " + cached);
      try (DeviceRun run = DeviceRun.of(graph, values, 2)) {
        Agreement.close(
            logits, run.value(result), Agreement.ofAModel(DType.F32), "logits after " + cached);
        for (Tensor state : graph.leaves(Role.STATE)) {
          values.set(state.name(), run.value(state));
        }
      }
    }
  }
}
