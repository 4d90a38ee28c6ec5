package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Elementwise;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** add and cast against PyTorch's. */
class ElementwiseTest {

  @ParameterizedTest
  @CsvSource({"Float,1", "Float,17", "Float,70001", "BFloat16,17", "BFloat16,70001"})
  void add(ScalarType type, long count) {
    Torch.seed(count);
    Tensor a = Torch.randn(type, count);
    Tensor b = Torch.randn(type, count);
    Tensor out = Torch.guardedCopy(b);
    Ops.run(Elementwise.add(ref(a), ref(out), ref(out)));
    Closeness.same("out", out, a.add(b)); // one rounding to nearest: the same bits
    assertTrue(Torch.guarded(out));
  }

  @Test
  void castRoundsToNearestEven() {
    Torch.seed(1);
    Tensor x =
        Torch.randn(Torch.F32, 5001).mul(Torch.randn(Torch.F32, 5001).mul(Torch.number(40)).exp());
    double[] edges = {
      0.0,
      -0.0,
      1 + 0x1p-8,
      1 + 3 * 0x1p-8,
      0x1.fffffep127,
      -0x1.fffffep127,
      0x1p-149,
      0x1p-133,
      Double.POSITIVE_INFINITY,
      Double.NEGATIVE_INFINITY
    };
    for (int i = 0; i < edges.length; i++) {
      x.narrow(0, i * 7, 1).fill_(Torch.number(edges[i]));
    }
    Tensor rounded = Torch.poisoned(Torch.BF16, 5001);
    cast(x, rounded);
    Closeness.same("bf16", rounded, x.to(Torch.BF16));
    Tensor widened = Torch.poisoned(Torch.F32, 5001);
    cast(rounded, widened);
    Closeness.same("f32", widened, rounded.to(Torch.F32));
    assertTrue(Torch.guarded(rounded) && Torch.guarded(widened));
  }

  @Test
  void castKeepsNaN() {
    Tensor rounded = Torch.zeros(Torch.BF16, 3);
    cast(Torch.full(Torch.F32, Double.NaN, 3), rounded);
    assertEquals(3, rounded.isnan().sum().item_long());
  }

  private static void cast(Tensor x, Tensor out) {
    Ops.run(Elementwise.cast(ref(x), ref(out)));
  }
}
