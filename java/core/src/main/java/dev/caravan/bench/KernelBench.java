package dev.caravan.bench;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * Measures every op on any device: first that its outputs are finite numbers and, away from the CPU, agree
 * with the CPU's; then its time.
 */
public final class KernelBench {
  /**
   * Greatest difference from the CPU's result, relative to its largest value, at the sizes of the check:
   * sums of at most a few thousand products, inputs that both types hold exactly.
   */
  private static final double FLOAT32_TOLERANCE = 1e-4;

  private static final double BFLOAT16_TOLERANCE = 3e-2;

  /**
   * One op.
   *
   * @param op its name
   * @param shape of its tensors
   * @param dtype of its tensors
   * @param cost what it has to do at least
   * @param seconds of one call; empty when it was not measured
   * @param share of the roof, 1 = all of it
   * @param ours rate of our own kernel as a multiple of that of a vendor's library, of which the other figures
   *     then are; empty where our kernel is what was measured
   * @param refusal why it was not measured; "" when it was
   */
  public record Result(
      String op,
      String shape,
      DType dtype,
      Cost cost,
      Optional<Double> seconds,
      double share,
      Optional<Double> ours,
      String refusal) {}

  private final Stream stream;
  private final Roof roof;
  private final int samples;

  /**
   * @param stream of the device to measure
   * @param roof of the same device
   * @param samples how many times each is timed; the median counts
   */
  public KernelBench(Stream stream, Roof roof, int samples) {
    this.stream = stream;
    this.roof = roof;
    this.samples = samples;
  }

  /**
   * Measures.
   *
   * @param dims shapes
   * @param dtype storage type
   * @param wanted which ops, by their names in {@link Result#op}
   * @throws IllegalStateException if an op gives wrong values: its time would mean nothing
   */
  public List<Result> run(Dims dims, DType dtype, Predicate<String> wanted) {
    List<KernelCase> cases = KernelCases.of(dims, dtype);
    List<KernelCase> small = KernelCases.of(Dims.of("tiny"), dtype);
    List<Result> results = new ArrayList<>();
    for (int i = 0; i < cases.size(); i++) {
      if (wanted.test(cases.get(i).op())) {
        results.add(measure(cases.get(i), small.get(i)));
      }
    }
    return results;
  }

  /** Names of all ops. */
  public static List<String> ops() {
    return KernelCases.of(Dims.of("tiny"), DType.F32).stream().map(KernelCase::op).toList();
  }

  private Result measure(KernelCase one, KernelCase small) {
    try (Stopwatch watch = new Stopwatch(stream)) {
      if (stream.device().kind() != Device.Kind.CPU) {
        agree(small, true);
      }
      double seconds;
      boolean byVendor;
      try (KernelRun run = new KernelRun(one, stream, true)) {
        seconds = watch.median(run::run, samples);
        byVendor = run.usesVendor();
      }
      Optional<Double> ours = byVendor ? ours(one, small, watch, seconds) : Optional.empty();
      double share = roof.share(one.cost(), one.dtype(), seconds);
      return new Result(
          one.op(), one.shape(), one.dtype(), one.cost(), Optional.of(seconds), share, ours, "");
    } catch (KernelException.Unsupported | KernelException.OutOfMemory e) {
      Optional<Double> none = Optional.empty();
      return new Result(
          one.op(), one.shape(), one.dtype(), one.cost(), none, 0, none, e.getMessage());
    }
  }

  private Optional<Double> ours(
      KernelCase one, KernelCase small, Stopwatch watch, double vendorSeconds) {
    agree(small, false);
    try (KernelRun run = new KernelRun(one, stream, false)) {
      return Optional.of(vendorSeconds / watch.median(run::run, samples));
    }
  }

  private void agree(KernelCase small, boolean vendor) {
    List<float[]> here = once(small, stream, vendor);
    List<float[]> reference;
    try (Stream cpu = Stream.open(Device.CPU, 1)) {
      reference = once(small, cpu, false);
    }
    double tolerance = small.dtype() == DType.F32 ? FLOAT32_TOLERANCE : BFLOAT16_TOLERANCE;
    for (int i = 0; i < reference.size(); i++) {
      double error = difference(here.get(i), reference.get(i));
      if (!(error <= tolerance)) {
        throw new IllegalStateException(
            "%s %s %s: output %d differs from the CPU's by %.2g of its largest value, needs %.2g"
                .formatted(small.op(), small.shape(), small.dtype(), i, error, tolerance));
      }
    }
  }

  private static List<float[]> once(KernelCase one, Stream stream, boolean vendor) {
    try (Bed bed = new Bed(stream, vendor)) {
      bed.run(bed.ready(one.setup().prepare(bed)));
      return bed.read();
    }
  }

  /** The greatest difference, relative to the greatest value of the reference; NaN stays NaN. */
  static double difference(float[] values, float[] reference) {
    double largest = 1e-30;
    double difference = 0;
    for (int i = 0; i < reference.length; i++) {
      largest = Math.max(largest, Math.abs(reference[i]));
      double here = Math.abs((double) values[i] - reference[i]);
      difference = Math.max(difference, here); // not a number, once it was one
    }
    return difference / largest;
  }

  /** The ceilings that were measured. */
  public Roof roof() {
    return roof;
  }
}
