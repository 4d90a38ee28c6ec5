package dev.caravan.kernels.nvidia;

import static dev.caravan.kernels.nvidia.CublasLt.check;
import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;

import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Products;
import java.util.Locale;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulAlgo_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulPreferenceOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatrixLayoutOpaque_t;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/** The library's descriptors of one shape, and the algorithm that was chosen for it. */
final class LtPlan implements AutoCloseable {
  private static final int WORDS = 8; // of cublasLtMatmulAlgo_t

  final cublasLtMatmulDescOpaque_t operation;
  final cublasLtMatrixLayoutOpaque_t first;
  final cublasLtMatrixLayoutOpaque_t second;
  final cublasLtMatrixLayoutOpaque_t out;
  final cublasLtMatmulAlgo_t algorithm = new cublasLtMatmulAlgo_t();
  private final cublasLtContext context;
  private final LtShape shape;

  /**
   * @param earlier the algorithm of an earlier run, or null to choose one
   */
  LtPlan(cublasLtContext context, LtShape shape, String earlier) {
    this.context = context;
    this.shape = shape;
    try (PointerPointer<Pointer> made = new PointerPointer<>(1)) {
      check(
          "cublasLtMatmulDescCreate",
          cublasLtMatmulDescCreate(made, CublasLt.computeType(), CUDA_R_32F));
      operation = new cublasLtMatmulDescOpaque_t(made.get(Pointer.class, 0));
      transpose(CUBLASLT_MATMUL_DESC_TRANSA, shape.first().transposed());
      transpose(CUBLASLT_MATMUL_DESC_TRANSB, shape.second().transposed());
      first = layout(made, shape.first());
      second = layout(made, shape.second());
      out = layout(made, shape.out());
    }
    choose();
    if (earlier != null) {
      use(earlier);
    }
  }

  private void transpose(int attribute, boolean transposed) {
    try (IntPointer value = new IntPointer(1).put(transposed ? CUBLAS_OP_T : CUBLAS_OP_N)) {
      check(
          "cublasLtMatmulDescSetAttribute",
          cublasLtMatmulDescSetAttribute(operation, attribute, value, Integer.BYTES));
    }
  }

  private static cublasLtMatrixLayoutOpaque_t layout(
      PointerPointer<Pointer> made, LtShape.Operand matrix) {
    check(
        "cublasLtMatrixLayoutCreate",
        cublasLtMatrixLayoutCreate(
            made, matrix.type(), matrix.rows(), matrix.columns(), matrix.stride()));
    return new cublasLtMatrixLayoutOpaque_t(made.get(Pointer.class, 0));
  }

  /** Asks the library's heuristic for the algorithm that it thinks is fastest. */
  private void choose() {
    try (PointerPointer<Pointer> made = new PointerPointer<>(1);
        IntPointer found = new IntPointer(1).put(0);
        cublasLtMatmulHeuristicResult_t result = new cublasLtMatmulHeuristicResult_t()) {
      check("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(made));
      cublasLtMatmulPreferenceOpaque_t preference =
          new cublasLtMatmulPreferenceOpaque_t(made.get(Pointer.class, 0));
      try {
        prefer(preference);
        int status =
            cublasLtMatmulAlgoGetHeuristic(
                context, operation, first, second, out, out, preference, 1, result, found);
        if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == 0 && found.get() == 0)) {
          throw KernelException.unsupported(
              "matmul: cuBLASLt has no algorithm for " + shape.key());
        }
        check("cublasLtMatmulAlgoGetHeuristic", status);
        copy(result.algo(), algorithm);
      } finally {
        cublasLtMatmulPreferenceDestroy(preference);
      }
    }
  }

  private void prefer(cublasLtMatmulPreferenceOpaque_t preference) {
    try (LongPointer bytes = new LongPointer(1).put(Products.VENDOR_WORKSPACE_BYTES);
        IntPointer value = new IntPointer(1)) {
      set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes, Long.BYTES);
      // Partial sums of split products in float32 and in the workspace, added in a fixed order.
      value.put(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
      set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, value, Integer.BYTES);
      value.put((int) shape.first().alignment());
      set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, value, Integer.BYTES);
      value.put((int) shape.second().alignment());
      set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, value, Integer.BYTES);
      value.put((int) shape.out().alignment());
      set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, value, Integer.BYTES);
      set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, value, Integer.BYTES);
    }
  }

  private static void set(
      cublasLtMatmulPreferenceOpaque_t preference, int attribute, Pointer value, long bytes) {
    check(
        "cublasLtMatmulPreferenceSetAttribute",
        cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, bytes));
  }

  private static void copy(cublasLtMatmulAlgo_t from, cublasLtMatmulAlgo_t to) {
    for (int i = 0; i < WORDS; i++) {
      to.data(i, from.data(i));
    }
  }

  /** The algorithm in words of 16 hexadecimal digits, as the library stores it. */
  String algorithm() {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < WORDS; i++) {
      text.append(String.format(Locale.ROOT, "%016x", algorithm.data(i)));
    }
    return text.toString();
  }

  /**
   * Takes the algorithm of an earlier run.
   *
   * @throws KernelException.InvalidArgument if the library does not take it for this shape
   */
  void use(String earlier) {
    try (cublasLtMatmulAlgo_t given = new cublasLtMatmulAlgo_t();
        cublasLtMatmulHeuristicResult_t result = new cublasLtMatmulHeuristicResult_t()) {
      parse(earlier, given);
      int status =
          cublasLtMatmulAlgoCheck(context, operation, first, second, out, out, given, result);
      if (status != CUBLAS_STATUS_SUCCESS
          || result.workspaceSize() > Products.VENDOR_WORKSPACE_BYTES) {
        throw KernelException.invalid(
            "matmul: cuBLASLt does not take the algorithm of before for " + shape.key());
      }
      copy(given, algorithm);
    }
  }

  private void parse(String text, cublasLtMatmulAlgo_t into) {
    if (!text.matches("[0-9a-f]{" + 16 * WORDS + "}")) {
      throw KernelException.invalid("matmul: got no algorithm of cuBLASLt for " + shape.key());
    }
    for (int i = 0; i < WORDS; i++) {
      into.data(i, Long.parseUnsignedLong(text.substring(16 * i, 16 * i + 16), 16));
    }
  }

  @Override
  public void close() {
    cublasLtMatrixLayoutDestroy(out);
    cublasLtMatrixLayoutDestroy(second);
    cublasLtMatrixLayoutDestroy(first);
    cublasLtMatmulDescDestroy(operation);
    algorithm.close();
  }
}
