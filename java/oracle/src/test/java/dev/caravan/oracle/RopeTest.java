package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Rope;
import dev.caravan.kernels.TensorRef;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** rope in both layouts, whole and partial, against a rotation composed of PyTorch's operations. */
class RopeTest {
  private static final int TABLE = 70;

  @ParameterizedTest
  @CsvSource({
    "Float,1,1,2,2",
    "Float,3,2,8,8",
    "Float,17,3,64,64",
    "Float,5,1,128,128",
    "Float,9,2,10,6",
    "Float,4,5,80,32",
    "BFloat16,1,1,2,2",
    "BFloat16,17,3,64,64",
    "BFloat16,9,2,10,6"
  })
  void bothLayouts(ScalarType type, int tokens, int heads, int width, int rotated) {
    for (Rope.Layout layout : Rope.Layout.values()) {
      Torch.seed(width + layout.ordinal());
      Random random = new Random(width);
      int[] positions = random.ints(tokens, 0, TABLE).toArray();
      Tensor angles = Torch.randn(Torch.F64, TABLE, rotated / 2).mul(Torch.number(30));
      Tensor cos = angles.cos().to(Torch.F32);
      Tensor sin = angles.sin().to(Torch.F32);
      Tensor x = Torch.randn(type, tokens, heads, width);
      Tensor dY = Torch.randn(type, tokens, heads, width);
      Tensor at = Torch.index(positions);
      Torch.Traced exact = Torch.trace(Torch.F64, rotation(cos, sin, at, layout), dY, x);
      Torch.Traced plain = Torch.trace(type, rotation(cos, sin, at, layout), dY, x);

      Tensor y = Torch.poisoned(type, tokens, heads, width);
      TensorRef places = ref(Torch.ints(positions));
      Ops.run(Rope.forward(ref(x), ref(y), places, ref(cos), ref(sin), layout));
      Closeness.ROPE.check("y", y, exact.value(), plain.value());
      assertTrue(Torch.guarded(y));

      Tensor dX = Torch.guardedCopy(dY);
      places = ref(Torch.ints(positions));
      Ops.run(Rope.backward(ref(dX), ref(dX), places, ref(cos), ref(sin), layout));
      Closeness.ROPE.check("d_x, in place", dX, exact.gradient(0), plain.gradient(0));
      assertTrue(Torch.guarded(dX));
    }
  }

  /** The first 2 x tables' width elements of each head turn in pairs; the rest stay. */
  private static Torch.Expression rotation(Tensor cos, Tensor sin, Tensor at, Rope.Layout layout) {
    return in -> {
      Tensor x = in[0];
      long pairs = cos.size(1);
      Tensor c = cos.to(Torch.type(x)).index_select(0, at).unsqueeze(1);
      Tensor s = sin.to(Torch.type(x)).index_select(0, at).unsqueeze(1);
      Tensor turning = x.narrow(2, 0, 2 * pairs);
      Tensor rest = x.narrow(2, 2 * pairs, x.size(2) - 2 * pairs);
      if (layout == Rope.Layout.HALF) {
        Tensor a = turning.narrow(2, 0, pairs);
        Tensor b = turning.narrow(2, pairs, pairs);
        return torch.cat(new TensorVector(turn(a, b, c, s), turn(b, a, c, s.neg()), rest), 2);
      }
      Tensor couples = turning.reshape(x.size(0), x.size(1), pairs, 2);
      Tensor a = couples.select(3, 0);
      Tensor b = couples.select(3, 1);
      Tensor turned = torch.stack(new TensorVector(turn(a, b, c, s), turn(b, a, c, s.neg())), 3);
      Tensor flat = turned.reshape(x.size(0), x.size(1), 2 * pairs);
      return torch.cat(new TensorVector(flat, rest), 2);
    };
  }

  private static Tensor turn(Tensor a, Tensor b, Tensor cos, Tensor sin) {
    return a.mul(cos).sub(b.mul(sin));
  }
}
