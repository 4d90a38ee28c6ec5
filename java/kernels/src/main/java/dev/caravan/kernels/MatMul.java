package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_matmul_args;

/** Matrix products by the ABI's own op. On the CPU they need {@link Blas#install}. */
public final class MatMul {
  private MatMul() {}

  /** A product by the ABI's own op. */
  public static KernelCall forward(Product product) {
    return forward(
        product.a(),
        product.transposeA(),
        product.b(),
        product.transposeB(),
        product.c(),
        product.rows(),
        product.alpha(),
        product.beta());
  }

  /**
   * {@code c = alpha * op(a) op(b) + beta * c}. {@code c} must not overlap {@code a} or {@code b}.
   *
   * @param a float [M, K], or [K, M] when {@code transposeA}
   * @param b float [K, N], or [N, K] when {@code transposeB}
   * @param c float [M, N]
   * @param rows i32 [1] or null: the leading rows in use, of M, or of K when {@code transposeA};
   *     rows of {@code c} beyond M's are set to 0 when {@code beta} is 0 and left alone otherwise
   */
  public static KernelCall forward(
      TensorRef a,
      boolean transposeA,
      TensorRef b,
      boolean transposeB,
      TensorRef c,
      TensorRef rows,
      float alpha,
      float beta) {
    caravan_matmul_args args = zeroed(new caravan_matmul_args());
    set(args.a(), a);
    set(args.b(), b);
    set(args.c(), c);
    set(args.rows(), rows);
    args.transpose_a(transposeA ? 1 : 0).transpose_b(transposeB ? 1 : 0).alpha(alpha).beta(beta);
    return KernelCall.of(
        "matmul_forward",
        args,
        stream -> Caravan.caravan_matmul_forward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_matmul_workspace(kind, args, bytes));
  }
}
