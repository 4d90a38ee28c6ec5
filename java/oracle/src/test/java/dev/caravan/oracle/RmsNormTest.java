package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.RmsNorm;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** rmsnorm, alone and fused with the residual add, against PyTorch's composed operations. */
class RmsNormTest {
  private static final float EPS = 1e-5f;

  private static Torch.Expression norm(double weightOffset) {
    return in -> {
      Tensor h = in.length == 3 ? in[0].add(in[2]) : in[0];
      Tensor rstd = h.square().mean(new long[] {-1}, true, null).add(Torch.number(EPS)).rsqrt();
      return h.mul(rstd).mul(in[1].add(Torch.number(weightOffset)));
    };
  }

  @ParameterizedTest
  @CsvSource({
    "Float,1,1,0",
    "Float,3,17,0",
    "Float,5,64,1",
    "Float,17,255,0",
    "Float,2,4099,0",
    "BFloat16,1,1,0",
    "BFloat16,3,17,1",
    "BFloat16,17,256,0",
    "BFloat16,2,4099,0"
  })
  void forwardAndBackward(ScalarType type, long rows, long width, float weightOffset) {
    Torch.seed(rows * width);
    // Rows near the size where eps counts, and rows far above it.
    Tensor x = Torch.randn(type, rows, width).mul(Torch.number(rows == 17 ? 0.003 : 3));
    Tensor weight = Torch.randn(type, width);
    Tensor dY = Torch.randn(type, rows, width);
    Torch.Traced exact = Torch.trace(Torch.F64, norm(weightOffset), dY, x, weight);
    Torch.Traced plain = Torch.trace(type, norm(weightOffset), dY, x, weight);

    Tensor y = Torch.poisoned(type, rows, width);
    Tensor rstd = Torch.poisoned(Torch.F32, rows);
    Ops.run(RmsNorm.forward(ref(x), null, ref(weight), ref(y), null, ref(rstd), EPS, weightOffset));
    Closeness.NORM.check("y", y, exact.value(), plain.value());
    assertTrue(Torch.guarded(y) && Torch.guarded(rstd));

    Tensor dX = Torch.poisoned(type, rows, width);
    Tensor before = Torch.randn(Torch.F32, width);
    Tensor dWeight = Torch.guardedCopy(before);
    backward(dY, x, weight, rstd, null, dX, dWeight, weightOffset);
    Closeness.NORM.check("d_x", dX, exact.gradient(0), plain.gradient(0));
    Closeness.SUM.check(
        "d_weight",
        dWeight,
        exact.gradient(1).add(before.to(Torch.F64)),
        plain.gradient(1).to(Torch.F32).add(before));
    assertTrue(Torch.guarded(dX) && Torch.guarded(dWeight));
  }

  @ParameterizedTest
  @CsvSource({"Float,5,33", "Float,1,768", "BFloat16,5,33", "BFloat16,9,768"})
  void fusedWithResidual(ScalarType type, long rows, long width) {
    Torch.seed(rows + width);
    Tensor x = Torch.randn(type, rows, width);
    Tensor residual = Torch.randn(type, rows, width).mul(Torch.number(4));
    Tensor weight = Torch.randn(type, width);
    Tensor dY = Torch.randn(type, rows, width);
    Torch.Traced exact = Torch.trace(Torch.F64, norm(0), dY, x, weight, residual);
    Torch.Traced plain = Torch.trace(type, norm(0), dY, x, weight, residual);

    Tensor y = Torch.poisoned(type, rows, width);
    Tensor rstd = Torch.poisoned(Torch.F32, rows);
    Tensor sum = Torch.guardedCopy(x);
    Ops.run(
        RmsNorm.forward(ref(sum), ref(residual), ref(weight), ref(y), ref(sum), ref(rstd), EPS, 0));
    Closeness.NORM.check("y", y, exact.value(), plain.value());
    Tensor exactSum = x.to(Torch.F64).add(residual.to(Torch.F64));
    Closeness.ROUNDED_ONCE.check("sum", sum, exactSum, x.add(residual));
    assertTrue(Torch.guarded(y) && Torch.guarded(sum));

    // The sum goes on into the residual stream, whose gradient arrives as d_sum, and d_x replaces
    // it.
    Tensor dSum = Torch.randn(type, rows, width);
    Tensor dX = Torch.guardedCopy(dSum);
    Tensor dWeight = Torch.zeros(Torch.F32, width);
    backward(dY, sum, weight, rstd, dX, dX, dWeight, 0);
    Tensor exactDx = exact.gradient(2).add(dSum.to(Torch.F64));
    Closeness.NORM.check("d_x", dX, exactDx, plain.gradient(2).add(dSum));
    Closeness.SUM.check("d_weight", dWeight, exact.gradient(1), plain.gradient(1));
    assertTrue(Torch.guarded(dX));
  }

  private static void backward(
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dSum,
      Tensor dX,
      Tensor dWeight,
      float weightOffset) {
    Ops.run(
        RmsNorm.backward(
            ref(dY),
            ref(x),
            ref(weight),
            ref(rstd),
            ref(dSum),
            ref(dX),
            ref(dWeight),
            weightOffset));
  }
}
