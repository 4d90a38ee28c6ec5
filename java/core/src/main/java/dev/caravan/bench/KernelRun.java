package dev.caravan.bench;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Stream;
import java.util.Optional;

/** One op on a device, ready to be run as often as wanted; its outputs were checked once. */
public final class KernelRun implements AutoCloseable {
  private final Stream stream;
  private final Bed bed;
  private final KernelCall call;

  /**
   * Prepares an op by its name in {@link KernelBench#ops}.
   *
   * @throws IllegalArgumentException if there is no such op
   * @throws IllegalStateException if it leaves an output unwritten or gives values that are not finite
   */
  public KernelRun(String op, Dims dims, DType dtype, Stream stream) {
    this(named(op, dims, dtype), stream, true);
  }

  private static KernelCase named(String op, Dims dims, DType dtype) {
    return KernelCases.of(dims, dtype).stream()
        .filter(c -> c.op().equals(op))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("no op of " + dtype + " is named " + op));
  }

  /**
   * Prepares a case.
   *
   * @param vendor whether a vendor's library may compute products
   */
  KernelRun(KernelCase one, Stream stream, boolean vendor) {
    this.stream = stream;
    bed = new Bed(stream, vendor);
    try {
      call = bed.ready(one.setup().prepare(bed));
      call.run(stream);
      stream.synchronize();
      if (!bed.outputsAreFinite()) {
        throw new IllegalStateException(
            one.op() + " " + one.shape() + " " + one.dtype() + ": gives values that are not finite");
      }
    } catch (RuntimeException | Error e) {
      bed.close();
      throw e;
    }
  }

  /** Gives the op to the stream; allocates nothing. */
  public void run() {
    call.run(stream);
  }

  /** Whether a vendor's library is what runs. */
  boolean usesVendor() {
    return bed.usesVendor();
  }

  /** What an op does at least, and the share of the roof that it reaches in the given time. */
  public static KernelBench.Result result(
      String op, Dims dims, DType dtype, double seconds, Roof roof) {
    KernelCase one = named(op, dims, dtype);
    double share = roof.share(one.cost(), dtype, seconds);
    return new KernelBench.Result(
        op, one.shape(), dtype, one.cost(), Optional.of(seconds), share, Optional.empty(), "");
  }

  @Override
  public void close() {
    bed.close();
  }
}
