package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_add_args;
import dev.caravan.kernels.abi.caravan_bias_backward_args;
import dev.caravan.kernels.abi.caravan_bias_forward_args;
import dev.caravan.kernels.abi.caravan_cast_args;

/** Sums, conversions and biases. */
public final class Elementwise {
  private Elementwise() {}

  /**
   * {@code out = a + b}, float, of one shape and dtype; {@code out} may be {@code a} or {@code b}.
   */
  public static KernelCall add(TensorRef a, TensorRef b, TensorRef out) {
    caravan_add_args args = zeroed(new caravan_add_args());
    set(args.a(), a);
    set(args.b(), b);
    set(args.out(), out);
    return KernelCall.of("add_forward", args, stream -> Caravan.caravan_add_forward(stream, args));
  }

  /** {@code out = x}, rounded to the nearest (ties to even) between float32 and bfloat16. */
  public static KernelCall cast(TensorRef x, TensorRef out) {
    caravan_cast_args args = zeroed(new caravan_cast_args());
    set(args.x(), x);
    set(args.out(), out);
    return KernelCall.of(
        "cast_forward", args, stream -> Caravan.caravan_cast_forward(stream, args));
  }

  /**
   * {@code y[r, :] = x[r, :] + bias}.
   *
   * @param x float [R, D]
   * @param bias float [D]
   * @param y float [R, D] =, may be {@code x}
   */
  public static KernelCall biasForward(TensorRef x, TensorRef bias, TensorRef y) {
    caravan_bias_forward_args args = zeroed(new caravan_bias_forward_args());
    set(args.x(), x);
    set(args.bias(), bias);
    set(args.y(), y);
    return KernelCall.of(
        "bias_forward", args, stream -> Caravan.caravan_bias_forward(stream, args));
  }

  /**
   * {@code dBias += sum over r of dY[r, :]}.
   *
   * @param dY float [R, D]
   * @param dBias float [D] +=
   */
  public static KernelCall biasBackward(TensorRef dY, TensorRef dBias) {
    caravan_bias_backward_args args = zeroed(new caravan_bias_backward_args());
    set(args.d_y(), dY);
    set(args.d_bias(), dBias);
    return KernelCall.of(
        "bias_backward",
        args,
        stream -> Caravan.caravan_bias_backward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_bias_backward_workspace(kind, args, bytes));
  }
}
