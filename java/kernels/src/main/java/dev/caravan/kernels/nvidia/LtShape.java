package dev.caravan.kernels.nvidia;

import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.TensorRef;

/**
 * A row-major product as cuBLASLt sees it, column-major: {@code c^T = op(b)^T op(a)^T}. So the
 * library's first operand is our {@code b}, its rows are our columns, and a transposition that is
 * stored is one that it does itself.
 *
 * @param first our {@code b}
 * @param second our {@code a}
 * @param out our {@code c}
 * @param accumulates whether what is in {@code c} counts
 */
record LtShape(Operand first, Operand second, Operand out, boolean accumulates) {
  private static final long MOST_ALIGNMENT = 256;

  /**
   * One matrix, column-major.
   *
   * @param transposed whether the library transposes it
   * @param rows of what is stored
   * @param columns of what is stored
   * @param stride elements from column to column
   * @param dtype element type
   * @param alignment of its address, in bytes
   */
  record Operand(
      boolean transposed, long rows, long columns, long stride, DType dtype, long alignment) {
    /** A row-major matrix [n, m] is a column-major one of m rows and n columns. */
    static Operand of(String name, TensorRef matrix, boolean transposed) {
      long[] shape = matrix.shape();
      long[] stride = matrix.stride();
      if (shape.length != 2) {
        throw KernelException.invalid(
            "matmul: " + name + ": got rank " + shape.length + ", needs 2");
      }
      if (matrix.dtype() != DType.F32 && matrix.dtype() != DType.BF16) {
        throw KernelException.invalid(
            "matmul: " + name + ": got " + matrix.dtype() + ", needs F32 or BF16");
      }
      long step = shape[0] > 1 ? stride[0] : Math.max(stride[0], shape[1]);
      if (step < shape[1]) {
        throw KernelException.invalid(
            "matmul: %s: got stride %d on axis 0, needs at least %d"
                .formatted(name, step, shape[1]));
      }
      long alignment = Math.min(MOST_ALIGNMENT, Long.lowestOneBit(matrix.address()));
      return new Operand(transposed, shape[1], shape[0], step, matrix.dtype(), alignment);
    }

    /** The type in the vendor's numbering. */
    int type() {
      return dtype == DType.F32 ? CUDA_R_32F : CUDA_R_16BF;
    }

    private String key() {
      return dtype.name().toLowerCase(java.util.Locale.ROOT)
          + (transposed ? "t" : "n")
          + rows
          + "x"
          + columns
          + "/"
          + stride
          + "@"
          + alignment;
    }
  }

  /**
   * The library's view of a product.
   *
   * @throws KernelException.InvalidArgument if the matrices do not fit together
   */
  static LtShape of(Product product) {
    Operand first = Operand.of("b", product.b(), product.transposeB());
    Operand second = Operand.of("a", product.a(), product.transposeA());
    Operand out = Operand.of("c", product.c(), false);
    long m = product.transposeA() ? second.rows : second.columns;
    long kOfA = product.transposeA() ? second.columns : second.rows;
    long kOfB = product.transposeB() ? first.rows : first.columns;
    long n = product.transposeB() ? first.columns : first.rows;
    if (kOfA != kOfB || out.columns != m || out.rows != n) {
      throw KernelException.invalid(
          "matmul: got op(a) [%d, %d], op(b) [%d, %d], c [%d, %d]"
              .formatted(m, kOfA, kOfB, n, out.columns, out.rows));
    }
    return new LtShape(first, second, out, product.beta() != 0);
  }

  /** A name for all that the choice of an algorithm depends on. */
  String key() {
    return first.key() + " " + second.key() + " " + out.key() + (accumulates ? " +=" : " =");
  }
}
