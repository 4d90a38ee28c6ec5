package dev.caravan.kernels;

import java.util.Map;
import java.util.Optional;

/** Who computes matrix products: the ABI's own op, or a vendor's library. */
public interface Products extends AutoCloseable {
  /**
   * The largest workspace that a vendor's library is given for a product, in bytes. Source: cuBLAS
   * manual, cublasSetWorkspace(), which recommends 32 MiB on Hopper and Blackwell.
   */
  long VENDOR_WORKSPACE_BYTES = 32L << 20;

  /** The ABI's {@code matmul_forward}. It leaves rows out that are not in use. */
  Products ABI =
      new Products() {
        @Override
        public KernelCall prepare(Product product) {
          return MatMul.forward(product);
        }

        @Override
        public String library() {
          return "caravan";
        }
      };

  /**
   * Prepares a product.
   *
   * @throws KernelException if it is refused
   */
  KernelCall prepare(Product product);

  /** Which library it is, and its version. */
  String library();

  /**
   * What was chosen so far and decides the last bits of products, under names: a run that goes on
   * later, on the same kind of device with the same library, chooses the same.
   */
  default Map<String, String> choices() {
    return Map.of();
  }

  /**
   * Takes earlier choices over, for products prepared before or after.
   *
   * @return why not, where they do not fit this library or device
   */
  default Optional<String> restore(Map<String, String> choices) {
    return choices.isEmpty()
        ? Optional.empty()
        : Optional.of("they were made for another library than " + library());
  }

  /** Frees what it holds; its calls must have been closed. */
  @Override
  default void close() {}
}
