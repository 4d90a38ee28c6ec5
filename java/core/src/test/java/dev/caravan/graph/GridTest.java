package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.graph.Division.Split;
import dev.caravan.graph.ExpertPartitionTest.Outcome;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Node;
import dev.caravan.ops.SumParts;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Ranks that share each matrix with some and the experts with others, as threads: loss and
 * gradients of one rank on all their buffers.
 */
class GridTest {
  private static final double RELATIVE = 1e-5;

  static List<Arguments> cases() {
    List<Arguments> cases = new ArrayList<>();
    for (TinyLlama model : PartitionTest.sparse()) {
      for (ExpertExchange exchange : ExpertExchange.values()) {
        cases.add(Arguments.of(model, new Mesh(2, 2, 2), exchange));
      }
      cases.add(Arguments.of(model, new Mesh(4, 2, 2), ExpertExchange.GATHER));
      cases.add(Arguments.of(model, new Mesh(4, 2, 4), ExpertExchange.PADDED));
    }
    return cases;
  }

  private static Graph graph(
      TinyLlama model, Mesh mesh, ExpertExchange exchange, Recompute.Policy recompute) {
    return model.train(DType.F32, recompute, mesh, ExpertPartitionTest.DROPPING, exchange);
  }

  /** What every rank computes of its own parts of the weights. */
  private static Map<Integer, Outcome> ranks(
      TinyLlama model, Values values, Mesh mesh, Graph graph, Grid grid) {
    Map<Integer, Outcome> outcomes = new ConcurrentHashMap<>();
    RankThreads.run(
        mesh,
        ranks -> {
          int rank = ranks.rank(Axis.WORLD);
          Values own = ExpertPartitionTest.buffer(model, values, mesh.dataRank(rank));
          for (Tensor whole : model.score(DType.F32).leaves(Role.PARAMETER)) {
            double[] value = values.get(whole.name());
            double[] part = PartitionTest.part(grid.tensor(), whole, value, mesh.tensorRank(rank));
            if (grid.experts().cuts(whole.name())) {
              int count = part.length / mesh.expert();
              int first = mesh.expertRank(rank) * count;
              part = Arrays.copyOfRange(part, first, first + count);
            }
            own.set(whole.name(), part);
          }
          try (DeviceRun run = new DeviceRun(graph, 1, ranks)) {
            run.fillArena(DeviceRun.POISON);
            run.load(own);
            run.run(own);
            outcomes.put(rank, ExpertPartitionTest.outcome(graph, run));
          }
          return "done";
        });
    return outcomes;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void manyRanksHaveLossAndGradientsOfOne(TinyLlama model, Mesh mesh, ExpertExchange exchange) {
    Values values = model.values(DType.F32, 71);
    Outcome one = ExpertPartitionTest.one(model, values, mesh, ExpertPartitionTest.DROPPING);
    double scale =
        one.gradients().values().stream()
            .flatMapToDouble(Arrays::stream)
            .map(Math::abs)
            .max()
            .orElseThrow();
    Grid grid = model.graphs(DType.F32).grid(mesh);
    for (Recompute.Policy recompute : List.of(Recompute.Policy.NONE, Recompute.Policy.FULL)) {
      Graph graph = graph(model, mesh, exchange, recompute);
      Map<Integer, Outcome> many = ranks(model, values, mesh, graph, grid);
      Map<Integer, Outcome> again = ranks(model, values, mesh, graph, grid);
      double loss = 0;
      for (int rank : mesh.group(Axis.DATA, 0)) {
        loss += many.get(rank).loss();
      }
      assertEquals(one.loss(), loss, RELATIVE * one.loss());
      for (Tensor weight : model.score(DType.F32).leaves(Role.PARAMETER)) {
        String name = weight.name();
        for (int part = 0; part < mesh.tensor(); part++) {
          double[] expected =
              PartitionTest.part(grid.tensor(), weight, one.gradients().get(name), part);
          double[] actual = gradient(many, name, mesh, part, grid);
          assertEquals(expected.length, actual.length, name);
          for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], RELATIVE * scale, name + " " + i);
          }
        }
        for (int rank = 0; rank < mesh.size(); rank++) {
          assertArrayEquals(
              many.get(rank).gradients().get(name),
              again.get(rank).gradients().get(name),
              name + ", run to run");
        }
      }
    }
  }

  /**
   * What a tensor-parallel rank has of a gradient, with all experts, summed over all that add to
   * it.
   */
  private static double[] gradient(
      Map<Integer, Outcome> ranks, String name, Mesh mesh, int part, Grid grid) {
    boolean experts = grid.experts().cuts(name);
    boolean terms = grid.tensor().split().apply(name) == Split.SHARED;
    double[] sum = new double[0];
    for (int rank = 0; rank < mesh.size(); rank++) {
      if (mesh.tensorRank(rank) == part || terms) {
        double[] its = ranks.get(rank).gradients().get(name);
        sum = sum.length == 0 ? new double[its.length * (experts ? mesh.expert() : 1)] : sum;
        int first = experts ? mesh.expertRank(rank) * its.length : 0;
        for (int i = 0; i < its.length; i++) {
          sum[first + i] += its[i];
        }
      }
    }
    return sum;
  }

  /**
   * What tensor-parallel ranks sum of a sparse layer is of a rank's own tokens, not of its group's.
   */
  @ParameterizedTest
  @MethodSource("cases")
  void sumsOfPartsAreOfOwnTokens(TinyLlama model, Mesh mesh, ExpertExchange exchange) {
    Graph graph = graph(model, mesh, exchange, Recompute.Policy.FULL);
    int sums = 0;
    for (Node node : graph.nodes()) {
      if (node.op() instanceof SumParts) {
        assertEquals(graph.leaf("ids").dim(0), node.in(0).dim(0), node.toString());
        sums++;
      }
    }
    assertEquals(2 * model.config().layers(), sums);
  }

  /**
   * Weights that other ranks have the same of lie behind one another: two buckets a sparse block.
   */
  @ParameterizedTest
  @MethodSource("cases")
  void expertsOfABlockLieTogether(TinyLlama model, Mesh mesh, ExpertExchange exchange) {
    Graph graph = graph(model, mesh, exchange, Recompute.Policy.NONE);
    Division experts = model.graphs(DType.F32).grid(mesh).experts();
    List<List<Tensor>> buckets = Buckets.of(graph, experts);
    int sparse = model.config().experts().orElseThrow().layers();
    assertEquals(Buckets.of(graph).size() + sparse, buckets.size());
    assertEquals(
        sparse, buckets.stream().filter(bucket -> experts.cuts(bucket.get(0).name())).count());
  }
}
