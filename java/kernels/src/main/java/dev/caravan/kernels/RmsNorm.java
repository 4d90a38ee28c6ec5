package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_rmsnorm_backward_args;
import dev.caravan.kernels.abi.caravan_rmsnorm_forward_args;
import dev.caravan.kernels.abi.caravan_row_dot_args;

/** Root-mean-square normalisation of rows. Source: Zhang and Sennrich 2019, arXiv 1910.07467. */
public final class RmsNorm {
  private RmsNorm() {}

  /**
   * {@code h = x + residual} (or x); {@code y = h * rstd * (weightOffset + weight)}, {@code rstd =
   * 1/sqrt(mean(h^2) + eps)}. To normalise per head, let a row be a (token, head).
   *
   * @param x float [R, D]
   * @param residual float [R, D] or null
   * @param weight float [D]
   * @param y float [R, D] =
   * @param sum float [R, D] =, receives h; needed with residual, else null; may be x or residual
   * @param rstd f32 [R] =, or null when no backward follows
   * @param weightOffset 0, or 1 where the checkpoint stores weight - 1
   */
  public static KernelCall forward(
      TensorRef x,
      TensorRef residual,
      TensorRef weight,
      TensorRef y,
      TensorRef sum,
      TensorRef rstd,
      float eps,
      float weightOffset) {
    caravan_rmsnorm_forward_args args = forwardArgs(x, weight, y, rstd, eps, weightOffset);
    set(args.residual(), residual);
    set(args.sum(), sum);
    return forward(args);
  }

  /**
   * The same of a part of every row: some columns of rows of {@code whole}, over which the mean is.
   *
   * @param x float [R, D]
   * @param weight float [D]
   * @param squares f32 [R], the sum of h^2 over each whole row: {@link #rowDot} of x with itself, added up
   *     over the parts
   * @param whole at least D
   * @param y float [R, D] =
   * @param rstd f32 [R] =, or null when no backward follows
   */
  public static KernelCall forwardOfPart(
      TensorRef x,
      TensorRef weight,
      TensorRef squares,
      long whole,
      TensorRef y,
      TensorRef rstd,
      float eps,
      float weightOffset) {
    caravan_rmsnorm_forward_args args = forwardArgs(x, weight, y, rstd, eps, weightOffset);
    set(args.squares(), squares);
    args.whole(whole);
    return forward(args);
  }

  private static caravan_rmsnorm_forward_args forwardArgs(
      TensorRef x,
      TensorRef weight,
      TensorRef y,
      TensorRef rstd,
      float eps,
      float weightOffset) {
    caravan_rmsnorm_forward_args args = zeroed(new caravan_rmsnorm_forward_args());
    set(args.x(), x);
    set(args.weight(), weight);
    set(args.y(), y);
    set(args.rstd(), rstd);
    args.eps(eps).weight_offset(weightOffset);
    return args;
  }

  private static KernelCall forward(caravan_rmsnorm_forward_args args) {
    return KernelCall.of(
        "rmsnorm_forward", args, stream -> Caravan.caravan_rmsnorm_forward(stream, args));
  }

  /**
   * {@code out[r] = sum over i of a[r, i] * b[r, i] * (weightOffset + weight[i])}, or without the last
   * factor: what a norm of a part of every row needs of the other parts.
   *
   * @param a float [R, D]
   * @param b float [R, D], may be a
   * @param weight float [D] or null
   * @param out f32 [R] =
   */
  public static KernelCall rowDot(
      TensorRef a, TensorRef b, TensorRef weight, TensorRef out, float weightOffset) {
    caravan_row_dot_args args = zeroed(new caravan_row_dot_args());
    set(args.a(), a);
    set(args.b(), b);
    set(args.weight(), weight);
    set(args.out(), out);
    args.weight_offset(weightOffset);
    return KernelCall.of(
        "row_dot_forward", args, stream -> Caravan.caravan_row_dot_forward(stream, args));
  }

  /**
   * With {@code g = dY * (weightOffset + weight)}, {@code n = x * rstd}: {@code dX = rstd * (g - n
   * * mean(g * n)) + dSum}; {@code dWeight += sum over r of dY * n}.
   *
   * @param dY float [R, D]
   * @param x float [R, D], what was normalised (h)
   * @param weight float [D]
   * @param rstd f32 [R], of the forward
   * @param dSum float [R, D] or null: the gradient that reaches h by its other uses; may be dX
   * @param dX float [R, D] =
   * @param dWeight float [D] +=
   */
  public static KernelCall backward(
      TensorRef dY,
      TensorRef x,
      TensorRef weight,
      TensorRef rstd,
      TensorRef dSum,
      TensorRef dX,
      TensorRef dWeight,
      float weightOffset) {
    return backward(backwardArgs(dY, x, weight, rstd, dSum, dX, dWeight, weightOffset));
  }

  /**
   * The same of a part of every row, see {@link #forwardOfPart}.
   *
   * @param dots f32 [R], the sum of {@code g * x} over each whole row: {@link #rowDot} of dY and x with the
   *     weight, added up over the parts
   * @param whole at least D
   */
  public static KernelCall backwardOfPart(
      TensorRef dY,
      TensorRef x,
      TensorRef weight,
      TensorRef rstd,
      TensorRef dots,
      long whole,
      TensorRef dSum,
      TensorRef dX,
      TensorRef dWeight,
      float weightOffset) {
    caravan_rmsnorm_backward_args args =
        backwardArgs(dY, x, weight, rstd, dSum, dX, dWeight, weightOffset);
    set(args.dots(), dots);
    args.whole(whole);
    return backward(args);
  }

  private static caravan_rmsnorm_backward_args backwardArgs(
      TensorRef dY,
      TensorRef x,
      TensorRef weight,
      TensorRef rstd,
      TensorRef dSum,
      TensorRef dX,
      TensorRef dWeight,
      float weightOffset) {
    caravan_rmsnorm_backward_args args = zeroed(new caravan_rmsnorm_backward_args());
    set(args.d_y(), dY);
    set(args.x(), x);
    set(args.weight(), weight);
    set(args.rstd(), rstd);
    set(args.d_sum(), dSum);
    set(args.d_x(), dX);
    set(args.d_weight(), dWeight);
    args.weight_offset(weightOffset);
    return args;
  }

  private static KernelCall backward(caravan_rmsnorm_backward_args args) {
    return KernelCall.of(
        "rmsnorm_backward",
        args,
        stream -> Caravan.caravan_rmsnorm_backward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_rmsnorm_backward_workspace(kind, args, bytes));
  }
}
