package dev.caravan.bench;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.EnumMap;
import java.util.Map;

/**
 * What a device was measured to do at best: the two sides of its roofline. Source: Williams, Waterman and
 * Patterson 2009, Communications of the ACM 52(4).
 *
 * @param copyBytesPerSecond of a copy beyond the caches, reads and writes together
 * @param productFlopsPerSecond of a square matrix product, by storage type; float32 may be missing where a
 *     device has no such product
 */
public record Roof(double copyBytesPerSecond, Map<DType, Double> productFlopsPerSecond) {
  private static final long CPU_COPY_BYTES = 256L << 20;
  private static final long CUDA_COPY_BYTES = 1L << 30;
  private static final int CPU_EXTENT = 1024;
  private static final int CUDA_EXTENT = 8192;

  /** Measures the device of a stream, in about a second. */
  public static Roof measure(Stream stream, int samples) {
    try (Stopwatch watch = new Stopwatch(stream)) {
      boolean cpu = stream.device().kind() == Device.Kind.CPU;
      double copy = copy(stream, watch, cpu ? CPU_COPY_BYTES : CUDA_COPY_BYTES, samples);
      Map<DType, Double> products = new EnumMap<>(DType.class);
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        try {
          products.put(dtype, product(stream, watch, dtype, cpu ? CPU_EXTENT : CUDA_EXTENT, samples));
        } catch (KernelException.Unsupported e) {
          continue; // this side of the roof stays unknown, and is reported so
        }
      }
      return new Roof(copy, products);
    }
  }

  /**
   * Floating-point operations a second of a square matrix product alone.
   *
   * @throws KernelException.Unsupported if the device has none of that type
   */
  public static double productRate(Stream stream, DType dtype, int samples) {
    try (Stopwatch watch = new Stopwatch(stream)) {
      boolean cpu = stream.device().kind() == Device.Kind.CPU;
      return product(stream, watch, dtype, cpu ? CPU_EXTENT : CUDA_EXTENT, samples);
    }
  }

  private static double copy(Stream stream, Stopwatch watch, long bytes, int samples) {
    try (Bed bed = new Bed(stream)) {
      TensorRef from = bed.sum(DType.U8, bytes);
      TensorRef to = bed.sum(DType.U8, bytes);
      return 2 * bytes / watch.best(() -> stream.copy(to.address(), from.address(), bytes), samples);
    }
  }

  private static double product(
      Stream stream, Stopwatch watch, DType dtype, int n, int samples) {
    try (Bed bed = new Bed(stream)) {
      KernelCall call =
          bed.ready(
              bed.product(
                  bed.random(dtype, n, n),
                  false,
                  bed.random(dtype, n, n),
                  true,
                  bed.output(dtype, n, n),
                  0));
      return 2.0 * n * n * n / watch.best(() -> call.run(stream), samples);
    }
  }

  /** The better of two measurements, side by side. */
  public Roof better(Roof other) {
    Map<DType, Double> products = new EnumMap<>(DType.class);
    products.putAll(productFlopsPerSecond);
    other.productFlopsPerSecond.forEach((dtype, rate) -> products.merge(dtype, rate, Math::max));
    return new Roof(Math.max(copyBytesPerSecond, other.copyBytesPerSecond), products);
  }

  /** Products a second at a storage type; infinite where that is unknown, so memory alone is the roof. */
  double flopsPerSecond(DType dtype) {
    return productFlopsPerSecond.getOrDefault(dtype, Double.POSITIVE_INFINITY);
  }

  /** The share of the roof that a call reaches, 1 = all of it; above 1 where it works in the caches. */
  double share(Cost cost, DType dtype, double seconds) {
    return cost.bound(copyBytesPerSecond, flopsPerSecond(dtype)) / seconds;
  }
}
