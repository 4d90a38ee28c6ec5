package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.ops.Add;
import dev.caravan.ops.MatMul;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PlanTest {
  private static final TinyLlama MODEL = TinyLlama.all().get(0);

  private static Plan plan(Graph graph) {
    return new Plan(Map.of("unit", graph), Device.Kind.CPU);
  }

  private static Graph linear(Role role, long out) {
    Graph graph = new Graph();
    Tensor x = graph.leaf("x", TensorType.f32(3, 4), role);
    Tensor w = graph.leaf("w", TensorType.f32(out, 4), Role.PARAMETER);
    graph.result(graph.one(MatMul.linear(false, DType.F32), x, w));
    return graph;
  }

  @Test
  void inputsLieFirstAndApart() {
    Plan plan = plan(MODEL.train(DType.F32, Recompute.Policy.NONE));
    Graph graph = plan.units().get("unit").graph();
    long next = 0;
    for (Role role : List.of(Role.INPUT, Role.CONSTANT, Role.STATE)) {
      for (Tensor leaf : graph.leaves(role)) {
        long offset = plan.leafOffset(leaf.name());
        assertEquals(0, offset % MemoryPlan.ALIGNMENT);
        assertEquals(role == Role.INPUT, offset < plan.inputBytes(), leaf.name());
        assertTrue(offset + leaf.type().byteSize() <= plan.leafBytes(), leaf.name());
        next += MemoryPlan.align(leaf.type().byteSize());
      }
    }
    assertEquals(next, plan.leafBytes());
  }

  @Test
  void unitsShareWeightsInputsAndTheArena() {
    Map<String, Graph> graphs = new LinkedHashMap<>();
    graphs.put("train", MODEL.train(DType.F32, Recompute.Policy.NONE));
    graphs.put("score", MODEL.score(DType.F32));
    Plan both = new Plan(graphs, Device.Kind.CPU);
    Plan train = plan(graphs.get("train"));
    Plan score = plan(graphs.get("score"));
    assertEquals(train.weightBytes(), both.weightBytes());
    assertEquals(train.leafBytes(), both.leafBytes());
    assertEquals(Math.max(train.arenaBytes(), score.arenaBytes()), both.arenaBytes());
    assertTrue(score.arenaBytes() < train.arenaBytes());
    assertTrue(both.trained());
    assertEquals(0, score.gradientBytes());
  }

  @Test
  void leavesOfOneNameMustBeEqual() {
    Map<String, Graph> graphs = new LinkedHashMap<>();
    graphs.put("a", linear(Role.INPUT, 2));
    graphs.put("b", linear(Role.INPUT, 5));
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> new Plan(graphs, Device.Kind.CPU));
    assertEquals("w: is f32[2, 4] in one graph, f32[5, 4] in another", error.getMessage());
  }

  /** An input that another graph keeps as its state would be overwritten by every upload. */
  @Test
  void leavesOfOneNameMustHaveOneRole() {
    Map<String, Graph> graphs = new LinkedHashMap<>();
    graphs.put("a", linear(Role.INPUT, 2));
    graphs.put("b", linear(Role.STATE, 2));
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> new Plan(graphs, Device.Kind.CPU));
    assertTrue(error.getMessage().startsWith("x: is "), error.getMessage());
  }

  @Test
  void aPlanNeedsAWeight() {
    Graph graph = new Graph();
    Tensor x = graph.leaf("x", TensorType.f32(3, 4), Role.INPUT);
    graph.result(graph.one(new Add(), x, x));
    assertThrows(IllegalArgumentException.class, () -> plan(graph));
  }

  @Test
  void weightsLieBehindOneAnotherFromMultiplesOf128Elements() {
    Plan plan = plan(MODEL.train(DType.F32, Recompute.Policy.NONE));
    long next = 0;
    for (FlatLayout.Slot slot : plan.weights().slots()) {
      assertEquals(0, slot.offset() % 128);
      assertTrue(slot.offset() >= next && slot.offset() < next + 128, slot.name());
      assertEquals(slot.type().rank() >= 2, slot.decays());
      next = slot.offset() + slot.count();
    }
    long parameters =
        plan.units().get("unit").graph().leaves(Role.PARAMETER).stream()
            .mapToLong(leaf -> leaf.type().elements())
            .sum();
    assertEquals(parameters, plan.weights().parameters());
    assertTrue(plan.weights().elements() >= next && plan.weights().elements() < next + 128);
  }

  @Test
  void bytesByCategoryFollowTheStorage() {
    Plan wide = plan(MODEL.train(DType.F32, Recompute.Policy.NONE));
    Plan half = plan(MODEL.train(DType.BF16, Recompute.Policy.NONE));
    Plan read = plan(MODEL.score(DType.BF16));
    long n = wide.weights().elements();
    assertEquals(n, half.weights().elements());
    assertEquals(4 * n, wide.weightBytes());
    assertEquals(4 * n, half.weightBytes(), "two bytes and two of the master's remainder");
    assertEquals(2 * n, half.remainderBytes());
    assertEquals(2 * n, read.weightBytes(), "a model that is only read has no remainder");
    assertEquals(4 * n, half.gradientBytes());
    assertTrue(half.activationBytes() < wide.activationBytes());
  }

  @Test
  void anUnknownNameIsRefused() {
    Plan plan = plan(MODEL.score(DType.F32));
    assertThrows(IllegalArgumentException.class, () -> plan.leafOffset("nothing"));
    assertThrows(IllegalArgumentException.class, () -> plan.weights().slot("nothing"));
  }
}
