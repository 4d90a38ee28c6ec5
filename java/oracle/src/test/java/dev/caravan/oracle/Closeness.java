package dev.caravan.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * How near an op's result must be to the same expression in float64, from the same inputs.
 *
 * <p>The error may be at most twice that of a plain implementation at the same precision, which is
 * PyTorch's operations composed one by one, plus a floor for the cases where the plain one is
 * lucky: a number of unit roundoffs (2^-24 for float32, 2^-8 for bfloat16) of the largest exact
 * value. Both the largest and the root-mean-square error are held to this.
 *
 * <p>For bfloat16 the floor is 1 unit in every op: the one rounding of the result, all else being
 * float32. For float32 it is what the op's own arithmetic explains, as listed here.
 */
enum Closeness {
  /** A copy: nothing is rounded. */
  COPY(0),
  /** One operation, rounded once. */
  ROUNDED_ONCE(1),
  /** Two products and a sum, each rounded. */
  ROPE(4),
  /** An exponential (3), a division (1), up to three products. */
  GATED_UNIT(12),
  /** A mean of squares in vector lanes, a square root, three products; twice that backward. */
  NORM(16),
  /** A blocked sum of up to a few thousand terms in float32. */
  SUM(24),
  /**
   * Exponentials whose argument carries a rounding of the score, up to 16 units of it, and sums.
   */
  SOFTMAX(48),
  /** Moments, a square root and a division, each rounded; the step is small beside the weight. */
  OPTIMIZER(8),
  /** A few blocks: each op adds its own error, and a gradient passes through all of them twice. */
  MODEL(64);

  private final double unitsOfFloat32;

  Closeness(double unitsOfFloat32) {
    this.unitsOfFloat32 = unitsOfFloat32;
  }

  /**
   * Fails unless got is near enough.
   *
   * @param what the name of the tensor, for the message
   * @param got the op's result, float32 or bfloat16
   * @param exact the expression in float64
   * @param plain the expression at the op's precision
   */
  void check(String what, Tensor got, Tensor exact, Tensor plain) {
    assertArrayEquals(shape(exact), shape(got), what + ": shape");
    if (got.numel() == 0) {
      return;
    }
    Tensor value = got.to(Torch.F64);
    Tensor reference = exact.to(Torch.F64);
    Tensor finite = reference.isfinite();
    assertTrue(
        torch.equal(value.isfinite(), finite), what + ": not finite where it should be, or finite");
    Tensor zero = torch.zeros_like(reference);
    reference = torch.where(finite, reference, zero);
    Tensor error = torch.where(finite, value, zero).sub(reference).abs();
    Tensor plainError = torch.where(finite, plain.to(Torch.F64), zero).sub(reference).abs();
    double unit = Torch.type(got) == Torch.BF16 ? 0x1p-8 : 0x1p-24 * unitsOfFloat32;
    within(what + ": largest error", max(error), max(plainError), unit * max(reference.abs()));
    within(what + ": rms error", rms(error), rms(plainError), unit * rms(reference));
  }

  private void within(String what, double error, double plain, double floor) {
    assertTrue(
        error <= 2 * plain + floor,
        () ->
            String.format(
                "%s: got %.3e, plain implementation %.3e, floor %.3e (%s)",
                what, error, plain, floor, name()));
  }

  /** Fails unless every element is the same, NaN excluded. */
  static void same(String what, Tensor got, Tensor expected) {
    assertTrue(torch.equal(got, expected), what + ": differs");
  }

  /** Root-mean-square error of a tensor, relative to the root mean square of the exact one. */
  static double relativeError(Tensor got, Tensor exact) {
    return rms(got.to(Torch.F64).sub(exact)) / rms(exact);
  }

  private static double max(Tensor x) {
    return x.max().item_double();
  }

  private static double rms(Tensor x) {
    return Math.sqrt(x.square().mean().item_double());
  }

  private static long[] shape(Tensor x) {
    long[] shape = new long[(int) x.dim()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = x.size(i);
    }
    return shape;
  }
}
