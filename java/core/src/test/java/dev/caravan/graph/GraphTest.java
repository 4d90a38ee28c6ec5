package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.ops.Add;
import dev.caravan.ops.MatMul;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class GraphTest {
  private final Graph graph = new Graph();
  private final Tensor x = graph.leaf("x", TensorType.f32(3, 4), Role.INPUT);

  @Test
  void aLeafOfOneNameIsOneTensor() {
    assertSame(x, graph.leaf("x", TensorType.f32(3, 4), Role.INPUT));
    assertSame(x, graph.leaf("x"));
    assertNull(graph.leaf("y"));
  }

  @Test
  void aNameThatIsTakenByAnotherLeafIsRefused() {
    assertMessage(
        "x: is f32[3, 4] INPUT, asked as f32[4, 3] INPUT",
        () -> graph.leaf("x", TensorType.f32(4, 3), Role.INPUT));
    assertMessage(
        "x: is f32[3, 4] INPUT, asked as f32[3, 4] PARAMETER",
        () -> graph.leaf("x", TensorType.f32(3, 4), Role.PARAMETER));
  }

  @Test
  void leavesComeInTheOrderInWhichTheyWereMade() {
    Tensor w = graph.leaf("w", TensorType.f32(2, 4), Role.PARAMETER);
    Tensor y = graph.leaf("y", TensorType.f32(1), Role.INPUT);
    assertEquals(List.of(x, w, y), graph.leaves());
    assertEquals(List.of(x, y), graph.leaves(Role.INPUT));
  }

  @Test
  void nodesCarryTheInnermostScope() {
    graph.in("outer", 0, () -> graph.in("inner", 1, () -> graph.one(new Add(), x, x)));
    graph.in("outer", 0, () -> graph.one(new Add(), x, x));
    graph.one(new Add(), x, x);
    assertEquals(
        List.of("inner/add", "outer/add", "add"),
        graph.nodes().stream().map(Object::toString).toList());
    assertEquals(
        List.of(1, 0, Graph.NO_BLOCK), graph.nodes().stream().map(node -> node.block()).toList());
  }

  @Test
  void aScopeEndsWhenItsBodyFails() {
    Runnable failing =
        () -> {
          throw new IllegalStateException();
        };
    assertThrows(IllegalStateException.class, () -> graph.in("part", 0, failing));
    graph.one(new Add(), x, x);
    assertEquals(Graph.NO_BLOCK, graph.nodes().get(0).block());
    assertEquals("", graph.nodes().get(0).scope());
  }

  @Test
  void shapesThatDoNotFitAreRefusedWithThePlaceAndTheShapes() {
    Tensor w = graph.leaf("w", TensorType.f32(2, 5), Role.PARAMETER);
    assertMessage(
        "layers.3/matmul: b: got f32[2, 5], needs [2, 4]",
        () -> graph.in("layers.3", 3, () -> graph.one(MatMul.linear(false, DType.F32), x, w)));
    assertTrue(graph.nodes().isEmpty(), "a refused node leaves nothing behind");
  }

  @Test
  void everyTensorHasAnIdOfItsOwn() {
    Graph model = TinyLlama.all().get(0).train(DType.F32, Recompute.Policy.FULL);
    Set<Integer> ids = new HashSet<>();
    model.leaves().forEach(leaf -> assertTrue(ids.add(leaf.id())));
    model
        .nodes()
        .forEach(node -> node.outputs().forEach(output -> assertTrue(ids.add(output.id()))));
    assertTrue(ids.stream().allMatch(id -> id >= 0 && id < model.tensorCount()));
  }

  @Test
  void everyTensorIsMadeBeforeItIsReadAndByOneNode() {
    for (TinyLlama tiny : TinyLlama.all()) {
      for (Recompute.Policy policy : TinyLlama.POLICIES) {
        Graph model = tiny.train(DType.F32, policy);
        Set<Tensor> made = new HashSet<>(model.leaves());
        for (var node : model.nodes()) {
          assertTrue(made.containsAll(node.inputs()), node.toString());
          node.outputs().forEach(output -> assertTrue(made.add(output), node.toString()));
        }
      }
    }
  }

  /**
   * Forward 2 per weight and row, backward twice that; attention is not counted as products are.
   */
  @Test
  void productsCountTwoOperationsPerMultiplication() {
    Tensor w = graph.leaf("w", TensorType.f32(2, 4), Role.PARAMETER);
    graph.one(MatMul.linear(false, DType.F32), x, w);
    assertEquals(2 * 3 * 4 * 2, graph.flops());
  }

  private static void assertMessage(String message, Runnable body) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, body::run).getMessage());
  }
}
