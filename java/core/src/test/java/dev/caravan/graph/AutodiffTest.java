package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Add;
import dev.caravan.ops.Embedding;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.Probes;
import dev.caravan.ops.RmsNorm;
import dev.caravan.ops.View;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class AutodiffTest {
  private static final MatMul LINEAR = MatMul.linear(false, DType.F32);

  private final Builder b = new Builder(DType.F32, 3);

  private static long count(Graph graph, String op) {
    return graph.nodes().stream().filter(node -> node.op().name().equals(op)).count();
  }

  private Graph check(OpCase one) {
    GradientCheck.check(one.graph(), one.values(), new Random(4));
    return Autodiff.differentiate(one.graph());
  }

  @Test
  void aTensorReadByThreeLinearLayersHasItsGradientsAddedByTheProducts() {
    Tensor x = b.activation("x", 5, 4);
    Graph graph =
        check(
            b.loss(
                "three readers",
                b.one(LINEAR, x, b.weight("q", 4, 4)),
                b.one(LINEAR, x, b.weight("k", 4, 4)),
                b.one(LINEAR, x, b.weight("v", 4, 4))));
    assertEquals(0, count(graph, "add"));
    assertEquals(3 + 6, count(graph, "matmul"));
  }

  @Test
  void aResidualPathSharesItsGradientAndNeverAddsToItInPlace() {
    Tensor x = b.activation("x", 5, 4);
    Tensor y = b.one(new Add(), x, b.one(LINEAR, x, b.weight("w", 4, 4)));
    Tensor z = b.one(new Add(), y, b.one(LINEAR, y, b.weight("v", 4, 4)));
    Graph graph = check(b.loss("two residual adds", b.one(LINEAR, z, b.weight("u", 4, 4))));
    // Two of the forward; one for each place where a shared gradient meets a product's.
    assertEquals(2 + 2, count(graph, "add"));
  }

  @Test
  void aNormTakesTheGradientOfItsResidualPathIntoItsOwnKernel() {
    Tensor x = b.activation("x", 5, 4);
    Tensor h = b.first(new RmsNorm(1e-5f, false), x, b.weight("gain", 4));
    Tensor y = b.one(new Add(), x, b.one(LINEAR, h, b.weight("w", 4, 4)));
    Graph graph = check(b.loss("pre-norm block", y));
    assertEquals(1, count(graph, "add"));
    assertTrue(
        graph.nodes().stream()
            .anyMatch(n -> n.op() instanceof RmsNorm.Backward back && back.adds()));
  }

  @Test
  void gradientsPassThroughViewsOfViews() {
    Tensor x = b.activation("x", 4, 6);
    Tensor heads = b.one(View.as(4, 3, 2), x);
    Tensor flat = b.one(View.as(4, 6), heads);
    check(b.loss("views", heads, flat, b.one(LINEAR, flat, b.weight("w", 2, 6))));
  }

  @Test
  void tiedWeightsShareOneBuffer() {
    Tensor table = b.weight("table", 6, 6);
    Tensor ids = b.ints("ids", 0, 5, 5, 2);
    Tensor x = b.one(new Embedding(), ids, table, b.ints("rows", 4));
    Graph graph = check(b.loss("tied", b.one(LINEAR, x, table)));
    assertEquals(1, graph.leaves(Role.GRADIENT).size());
    Tensor buffer = graph.leaf(Autodiff.gradientName("table"));
    assertEquals(TensorType.f32(6, 6), buffer.type());
  }

  @Test
  void nothingIsComputedThatNoWeightNeeds() {
    Graph graph = new Graph();
    Tensor x = graph.leaf("x", TensorType.f32(3, 4), Role.INPUT);
    Tensor w = graph.leaf("w", TensorType.f32(2, 4), Role.PARAMETER);
    Tensor factors = graph.leaf("factors", TensorType.f32(3, 2), Role.CONSTANT);
    graph.one(new Probes.Dot(), graph.one(LINEAR, x, w), factors);
    Graph backward = Autodiff.differentiate(graph);
    assertEquals(2, count(backward, "matmul"), "the product itself and its weight's gradient");
  }

  @Test
  void whatTheLossDoesNotReachIsLeftAlone() {
    Tensor unused = b.one(LINEAR, b.activation("x", 3, 4), b.weight("unused", 4, 4));
    OpCase one = b.loss("half", b.one(LINEAR, b.activation("y", 3, 4), b.weight("w", 4, 4)));
    Graph graph = check(one);
    assertFalse(
        graph.nodes().stream()
            .skip(one.graph().nodes().size() - 1)
            .anyMatch(node -> node.inputs().contains(unused)));
    Values values = one.values().copy();
    new ReferenceExecutor(graph, values).run();
    for (double gradient : values.get(Autodiff.gradientName("unused"))) {
      assertEquals(0, gradient);
    }
  }

  @Test
  void theForwardPartIsKeptAsItIs() {
    OpCase one = b.loss("plain", b.one(LINEAR, b.activation("x", 3, 4), b.weight("w", 4, 4)));
    List<Node> forward = one.graph().nodes();
    Graph graph = Autodiff.differentiate(one.graph());
    assertEquals(
        forward.subList(0, forward.size() - 1), graph.nodes().subList(0, forward.size() - 1));
  }

  @Test
  void backwardNodesBelongToTheBlockOfTheirForwardNode() {
    TinyLlama model = TinyLlama.all().get(0);
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE);
    for (Node node : graph.nodes()) {
      String scope = node.block() == Graph.NO_BLOCK ? "" : "layers." + node.block();
      assertEquals(scope, node.scope());
    }
  }

  /** A gradient that a weight's buffer never sees would train nothing, silently. */
  @Test
  void aWeightWhoseGradientCannotBeAddedInPlaceIsRefused() {
    Tensor x = b.activation("x", 3, 4);
    OpCase one = b.loss("weight added", b.one(new Add(), x, b.weight("offset", 3, 4)));
    UnsupportedOperationException error =
        assertThrows(
            UnsupportedOperationException.class, () -> Autodiff.differentiate(one.graph()));
    assertTrue(error.getMessage().contains("add"), error.getMessage());
    assertTrue(error.getMessage().contains("offset"), error.getMessage());
  }

  @Test
  void aNormalisedWeightIsRefusedToo() {
    Op norm = new RmsNorm(1e-5f, false);
    OpCase one = b.loss("weight", b.first(norm, b.weight("x", 3, 4), b.weight("gain", 4)));
    UnsupportedOperationException error =
        assertThrows(
            UnsupportedOperationException.class, () -> Autodiff.differentiate(one.graph()));
    assertTrue(error.getMessage().contains("rmsnorm"), error.getMessage());
  }

  @Test
  void aLossThatMustBeKeptIsRefused() {
    OpCase one = b.loss("kept", b.one(LINEAR, b.activation("x", 3, 4), b.weight("w", 4, 4)));
    Node loss = one.graph().nodes().get(one.graph().nodes().size() - 1);
    one.graph().result(loss.out(0));
    assertThrows(IllegalArgumentException.class, () -> Autodiff.differentiate(one.graph()));
  }
}
