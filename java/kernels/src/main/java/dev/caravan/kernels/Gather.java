package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_gather_args;

/** Rows picked by index: the output projection needs only those that carry a target. */
public final class Gather {
  private Gather() {}

  /**
   * {@code out[i] = x[rows[first + i]]} where {@code first + i < count}; other rows of out are 0.
   *
   * @param x float [T, D]
   * @param rows i32 [n], distinct
   * @param count i32 [1], at most n
   * @param out float [R, D] =
   */
  public static KernelCall forward(
      TensorRef x, TensorRef rows, TensorRef count, TensorRef out, long first) {
    caravan_gather_args args = fill(x, rows, count, out, first);
    return KernelCall.of(
        "gather_forward", args, stream -> Caravan.caravan_gather_forward(stream, args));
  }

  /**
   * {@code dX[rows[first + i]] = dOut[i]} where {@code first + i < count}; other rows of dX are
   * left alone.
   *
   * @param dX float [T, D], out
   * @param dOut float [R, D], in
   */
  public static KernelCall backward(
      TensorRef dX, TensorRef rows, TensorRef count, TensorRef dOut, long first) {
    caravan_gather_args args = fill(dX, rows, count, dOut, first);
    return KernelCall.of(
        "gather_backward", args, stream -> Caravan.caravan_gather_backward(stream, args));
  }

  private static caravan_gather_args fill(
      TensorRef x, TensorRef rows, TensorRef count, TensorRef out, long first) {
    caravan_gather_args args = zeroed(new caravan_gather_args());
    set(args.x(), x);
    set(args.rows(), rows);
    set(args.count(), count);
    set(args.out(), out);
    return args.first(first);
  }
}
