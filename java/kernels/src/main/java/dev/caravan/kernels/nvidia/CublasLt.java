package dev.caravan.kernels.nvidia;

import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_32F;
import static org.bytedeco.cuda.global.cublas.CUBLAS_STATUS_SUCCESS;
import static org.bytedeco.cuda.global.cublas.cublasLtCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtDestroy;
import static org.bytedeco.cuda.global.cublas.cublasLtGetStatusName;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.MatMul;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Library;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Loaded;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.Pointer;

/**
 * Matrix products by NVIDIA's cuBLASLt. The algorithm is chosen once for each shape, layout, dtypes
 * and alignment, by the library's heuristic, and kept: the same run gives the same bits, and so does
 * one that goes on later with the choices of before. Reductions across blocks are in float32 by way
 * of the workspace, never by atomics in the output. float32 operands are not rounded to TF32.
 *
 * <p>All rows are computed, in use or not; see {@link Product}.
 */
public final class CublasLt implements Products {
  private static final String VERSION = "library";
  private static final String DEVICE = "device";

  private final Device device;
  private final long version;
  private final cublasLtContext context = new cublasLtContext();
  private final Map<String, LtPlan> plans = new LinkedHashMap<>();
  private final Map<String, String> restored = new LinkedHashMap<>();
  private final StreamHandle streamHandle = new StreamHandle();

  private CublasLt(Device device, long version) {
    this.device = device;
    this.version = version;
    check("cublasLtCreate", cublasLtCreate(context));
  }

  /**
   * Opens the library for a stream's device, or says why it cannot be.
   *
   * @param reason gets why not
   */
  public static Optional<Products> open(Stream stream, java.util.function.Consumer<String> reason) {
    if (stream.device().kind() != Device.Kind.CUDA) {
      reason.accept("the device is no GPU");
      return Optional.empty();
    }
    Loaded loaded = NvidiaLibraries.load(Library.CUBLASLT);
    if (!loaded.usable()) {
      reason.accept(loaded.reason());
      return Optional.empty();
    }
    stream.synchronize(); // makes the device current on this thread, by our runtime
    return Optional.of(new CublasLt(stream.device(), loaded.version()));
  }

  /** Version of the library in words, as in "cuBLASLt 13.1.1". */
  public static String describe(long version) {
    return "cuBLASLt " + version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }

  @Override
  public String library() {
    return describe(version);
  }

  @Override
  public KernelCall prepare(Product product) {
    if (product.c().elements() == 0 || product.a().elements() == 0) {
      return MatMul.forward(product); // nothing to multiply: the library refuses such shapes
    }
    LtShape shape = LtShape.of(product);
    LtPlan plan =
        plans.computeIfAbsent(
            shape.key(), key -> new LtPlan(context, shape, restored.get(key)));
    return new LtCall(context, plan, product, streamHandle);
  }

  @Override
  public Map<String, String> choices() {
    Map<String, String> choices = new LinkedHashMap<>();
    choices.put(VERSION, library());
    choices.put(DEVICE, device.name());
    plans.forEach((key, plan) -> choices.put(key, plan.algorithm()));
    return choices;
  }

  @Override
  public Optional<String> restore(Map<String, String> choices) {
    Map<String, String> algorithms = new LinkedHashMap<>(choices);
    String from = algorithms.remove(VERSION);
    String where = algorithms.remove(DEVICE);
    if (algorithms.isEmpty()) {
      return Optional.empty();
    }
    if (!library().equals(from) || !device.name().equals(where)) {
      return Optional.of(
          "they were made by %s on %s, here is %s on %s"
              .formatted(from, where, library(), device.name()));
    }
    restored.putAll(algorithms);
    for (Map.Entry<String, LtPlan> plan : plans.entrySet()) {
      String algorithm = algorithms.get(plan.getKey());
      if (algorithm != null) {
        plan.getValue().use(algorithm);
      }
    }
    return Optional.empty();
  }

  @Override
  public void close() {
    plans.values().forEach(LtPlan::close);
    plans.clear();
    if (!context.isNull()) {
      cublasLtDestroy(context);
      context.setNull();
    }
    streamHandle.close();
  }

  /** Throws when a function of the library did not succeed. */
  static void check(String function, int status) {
    if (status != CUBLAS_STATUS_SUCCESS) {
      throw KernelException.lost(
          function + ": " + cublasLtGetStatusName(status).getString() + " (" + status + ")");
    }
  }

  /** Sums in float32, operands as they are. */
  static int computeType() {
    return CUBLAS_COMPUTE_32F;
  }

  /** The library's view of one of our streams, made once for each stream. */
  static final class StreamHandle implements AutoCloseable {
    private long of;
    private CUstream_st handle;

    CUstream_st get(Stream stream) {
      if (handle == null || of != stream.handle()) {
        handle = new CUstream_st(new Address(stream.nativeHandle()));
        of = stream.handle();
      }
      return handle;
    }

    @Override
    public void close() {
      handle = null;
    }
  }

  /** An address, as the presets want it; owns nothing. */
  static final class Address extends Pointer {
    Address(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }
}
