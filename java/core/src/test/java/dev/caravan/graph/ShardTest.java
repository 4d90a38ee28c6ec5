package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelException;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Join;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class ShardTest {
  static List<TinyLlama> models() {
    return TinyLlama.all();
  }

  @Test
  void oneRankLeavesTheGraphAsItIs() {
    Graph graph = models().get(0).train(DType.F32, Recompute.Policy.NONE);
    assertSame(graph, Shard.apply(graph, 1));
  }

  @ParameterizedTest
  @MethodSource("models")
  void everyGradientIsReducedOnceBehindItsLastPart(TinyLlama model) {
    Graph graph = Shard.apply(model.train(DType.F32, Recompute.Policy.FULL), 2);
    Map<Tensor, Tensor> roots = Plan.roots(graph);
    Map<Tensor, Integer> reduced = new HashMap<>();
    for (Node node : graph.nodes()) {
      for (int o = 0; o < node.outputs().size(); o++) {
        if (node.out(o).role() == Role.GRADIENT) {
          Tensor root = roots.get(node.out(o));
          boolean waits = node.op() instanceof Join;
          assertEquals(waits ? 1 : null, reduced.get(root), node + " touches what was sent");
          if (node.op() instanceof AllReduce) {
            reduced.merge(root, 1, Integer::sum);
          }
        }
      }
    }
    assertEquals(graph.leaves(Role.GRADIENT).size(), reduced.size());
  }

  /** Every bucket is gathered before its first use, summed once a window, and then kept. */
  @ParameterizedTest
  @MethodSource("models")
  void partsAreWholeWhereverTheyAreUsed(TinyLlama model) {
    Graph graph = model.train(DType.F32, Recompute.Policy.FULL);
    Graph sharded = Shard.apply(graph, 2, Sharding.PARAMETERS);
    FlatLayout layout = new FlatLayout(Buckets.of(graph), 2);
    Windows windows = Windows.of(sharded, layout, DType.F32);
    int uses = 0;
    for (int i = 0; i < sharded.nodes().size(); i++) {
      Node node = sharded.nodes().get(i);
      for (Tensor input : node.inputs()) {
        if (input.role() == Role.PARAMETER && !node.op().exchanges()) {
          assertNotNull(windows.at(input, layout, i), node + " reads " + input);
          uses++;
        }
      }
    }
    assertTrue(uses > 0);
    assertEquals(layout.elements(), 2 * layout.keptElements());
    long opened = count(sharded, "open_gradients");
    assertTrue(opened >= layout.buckets().size(), opened + " windows");
    assertEquals(opened, count(sharded, "reduce_scatter"));
    assertEquals(opened, count(sharded, "keep_gradients"));
    // Gathered for the forward and again for the backward part, but for what is used at the turn.
    assertTrue(count(sharded, "gather_weights") > layout.buckets().size());
  }

  private static long count(Graph graph, String op) {
    return graph.nodes().stream().filter(node -> node.op().name().equals(op)).count();
  }

  /** Ranks that see the same rows: the reference of the collective multiplies by their number. */
  @Test
  void gradientsAreThoseOfAllRanksTogether() {
    TinyLlama model = models().get(1);
    Values one = model.values(DType.F32, 61);
    Values three = one.copy();
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE);
    new ReferenceExecutor(graph, one).run();
    new ReferenceExecutor(Shard.apply(graph, 3), three).run();
    for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
      double[] expected = one.get(gradient.name());
      double[] sum = three.get(gradient.name());
      for (int i = 0; i < expected.length; i++) {
        assertEquals(3 * expected[i], sum[i], 1e-15 + 1e-12 * Math.abs(expected[i]));
      }
    }
  }

  /** A collective in the middle of a model: what flows back through it is summed, too. */
  @Test
  void aCollectiveIsItsOwnGradient() {
    OpCase.Builder b = new OpCase.Builder(DType.F32, 62);
    OpCase one = b.loss("all-reduce", b.one(new AllReduce(Axis.DATA, 3, false), b.activation("x", 4, 5)));
    GradientCheck.check(one.graph(), one.values(), new Random(63));
  }

  @Test
  void aGroupOfSeveralRanksIsRefusedWhenItIsBound() {
    Graph graph = Shard.apply(models().get(0).train(DType.F32, Recompute.Policy.NONE), 2);
    KernelException error =
        assertThrows(
            KernelException.InvalidArgument.class, () -> new DeviceRun(graph, 1).close());
    assertTrue(error.getMessage().endsWith("planned for 2 ranks, got 1"), error.getMessage());
  }
}
