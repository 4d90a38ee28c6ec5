package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_rmsnorm_backward_args;
import dev.caravan.kernels.abi.caravan_rmsnorm_forward_args;

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
    caravan_rmsnorm_forward_args args = zeroed(new caravan_rmsnorm_forward_args());
    set(args.x(), x);
    set(args.residual(), residual);
    set(args.weight(), weight);
    set(args.y(), y);
    set(args.sum(), sum);
    set(args.rstd(), rstd);
    args.eps(eps).weight_offset(weightOffset);
    return KernelCall.of(
        "rmsnorm_forward", args, stream -> Caravan.caravan_rmsnorm_forward(stream, args));
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
    caravan_rmsnorm_backward_args args = zeroed(new caravan_rmsnorm_backward_args());
    set(args.d_y(), dY);
    set(args.x(), x);
    set(args.weight(), weight);
    set(args.rstd(), rstd);
    set(args.d_sum(), dSum);
    set(args.d_x(), dX);
    set(args.d_weight(), dWeight);
    args.weight_offset(weightOffset);
    return KernelCall.of(
        "rmsnorm_backward",
        args,
        stream -> Caravan.caravan_rmsnorm_backward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_rmsnorm_backward_workspace(kind, args, bytes));
  }
}
