package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Bias;
import dev.caravan.ops.Node;
import dev.caravan.ops.Probes;
import dev.caravan.tensor.Tensor;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The check of gradients sees what it is there for. */
class GradientCheckTest {
  @Test
  void aGradientAddedTwiceIsSeen() {
    Builder b = new Builder(DType.F32, 1);
    Tensor x = b.activation("x", 3, 4);
    OpCase right = b.loss("right", b.one(new Bias(), x, b.weight("bias", 4)));
    GradientCheck.check(right.graph(), right.values(), new Random(2));

    Graph wrong = Autodiff.differentiate(right.graph());
    Node last = wrong.nodes().get(wrong.nodes().size() - 1);
    wrong.emit(new Probes.Collect(), List.of(last.in(0), last.out(0)), "again", Graph.NO_BLOCK);
    AssertionError error =
        assertThrows(
            AssertionError.class,
            () -> GradientCheck.check(right.graph(), wrong, right.values(), new Random(2)));
    assertTrue(error.getMessage().startsWith("x["), error.getMessage());
  }
}
