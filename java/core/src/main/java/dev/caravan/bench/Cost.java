package dev.caravan.bench;

import dev.caravan.kernels.DType;

/**
 * What one call has to do at least. The formulas of all benches stand here: every tensor that goes in is
 * read once and every one that comes out is written once, whatever the kernel reads again.
 *
 * @param bytes moved between memory and processor
 * @param flops floating-point operations, a multiplication and an addition counted as two; for
 *     element-wise ops a rough count, exp and tanh as one
 * @param products whether they are matrix products, which the rate of products bounds; element-wise ops
 *     are bound by memory alone
 */
public record Cost(double bytes, double flops, boolean products) {
  /** Element-wise work on that many bytes. */
  static Cost bytes(double bytes, double flops) {
    return new Cost(bytes, flops, false);
  }

  /** Element-wise work on elements of one type. */
  static Cost elements(DType dtype, double read, double written, double flops) {
    return bytes((read + written) * dtype.bytes(), flops);
  }

  /** {@code c[m, n] = a[m, k] b[k, n] (+ c)}. */
  static Cost product(
      double m, double n, double k, DType inputs, DType out, boolean accumulate) {
    double results = m * n * (accumulate ? 2 : 1);
    return new Cost((m * k + k * n) * inputs.bytes() + results * out.bytes(), 2 * m * n * k, true);
  }

  /**
   * Products of so many rows with the matrices [n, k] of their experts, each of which is read once, or with
   * {@code accumulate} read and written as float32.
   *
   * @param elements of rows that are read and written
   */
  static Cost grouped(
      double rows,
      double n,
      double k,
      double experts,
      double elements,
      DType dtype,
      boolean accumulate) {
    double weight = accumulate ? 2 * Float.BYTES : dtype.bytes();
    return new Cost(elements * dtype.bytes() + experts * n * k * weight, 2 * rows * n * k, true);
  }

  /**
   * Causal attention of one document of {@code t} tokens, {@code h} heads of {@code n} elements over
   * {@code k} key/value heads. Each of the t (t + 1) / 2 pairs that are seen costs two products of n in the
   * forward (scores, output) and five in the backward (scores again, dP, dV, dQ, dK). Source: Dao 2023,
   * arXiv 2307.08691, section 4.1 (which counts half of t x t).
   */
  static Cost attention(double t, double h, double k, double n, DType dtype, boolean backward) {
    double pairs = h * t * (t + 1) / 2;
    double q = t * h * n;
    double kv = t * k * n;
    double statistics = h * t * Float.BYTES;
    return backward
        ? new Cost((4 * q + 4 * kv) * dtype.bytes() + statistics, 5 * 2 * n * pairs, true)
        : new Cost((2 * q + 2 * kv) * dtype.bytes() + statistics, 2 * 2 * n * pairs, true);
  }

  /**
   * The least time on a device, in seconds: the roof over this call.
   *
   * @param copy bytes a second
   * @param product floating-point operations a second
   */
  double bound(double copy, double product) {
    return computeBound(copy, product) ? flops / product : bytes / copy;
  }

  /** Whether products, not memory, hold it up under that roof. */
  boolean computeBound(double copy, double product) {
    return products && flops / product > bytes / copy;
  }
}
