package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_step_state;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

/**
 * What changes from one optimizer step to the next, in device memory: ops read it there, so that
 * recorded work can be replayed. Writing and reading allocate no native memory.
 */
public final class StepState implements AutoCloseable {
  /**
   * What the ops of a step have written.
   *
   * @param lossSum negative log-likelihood in nats, summed over all targets
   * @param gradNorm global norm before clipping
   * @param clipFactor what gradients were multiplied with
   * @param finite whether the norm is a finite number; when not, nothing was updated
   */
  public record Result(double lossSum, float gradNorm, float clipFactor, boolean finite) {}

  private final TensorRef device;
  private final Memory host;
  private final caravan_step_state written;
  private final caravan_step_state read;

  /**
   * A step state in memory of the caller's.
   *
   * @param device u8, at least {@link #bytes} of device memory that outlives it
   * @param on the device whose memory it is
   */
  public StepState(TensorRef device, Device on) {
    if (device.bytes() < bytes()) {
      throw KernelException.of(
          Caravan.CARAVAN_INVALID_ARGUMENT,
          "step state: got %d bytes, needs %d".formatted(device.bytes(), bytes()));
    }
    this.device = TensorRef.of(device.address(), DType.U8, bytes());
    this.host = Memory.staging(on, hostBytes());
    this.written = new At(host.address());
    this.read = new At(host.address() + bytes());
  }

  /** Bytes that a step state takes. */
  public static long bytes() {
    Native.load();
    return Loader.sizeof(caravan_step_state.class);
  }

  /** Bytes of host memory that it takes: what is written before a step, what is read after it. */
  public static long hostBytes() {
    return 2 * bytes();
  }

  /** The struct at a given address, which it does not own. */
  private static final class At extends caravan_step_state {
    At(long address) {
      super((Pointer) null);
      this.address = address;
    }
  }

  /** How ops are given it: u8, the whole struct. */
  public TensorRef ref() {
    return device;
  }

  /** Where global_norm writes its result: f32 [1]. */
  public TensorRef gradNorm() {
    long offset = Loader.offsetof(caravan_step_state.class, "grad_norm");
    return TensorRef.of(device.address() + offset, DType.F32, 1);
  }

  /**
   * Begins a step: writes its numbers, clears its results. The numbers must not be written again
   * before the step's {@link #result} was read.
   *
   * @param step from 1
   * @param seed of counter-based random numbers
   * @param lr learning rate
   * @param inverseTargets 1 / target tokens of the whole step, over micro-batches and ranks
   * @param inverseTokens 1 / input tokens of the whole step; balance losses weight micro-batches by it
   * @param clipNorm greatest global gradient norm; 0 for no clipping
   */
  public void begin(
      Stream stream,
      long step,
      long seed,
      float lr,
      float inverseTargets,
      float inverseTokens,
      float clipNorm) {
    written.step(step).seed(seed).lr(lr).inv_targets(inverseTargets).clip_norm(clipNorm);
    written.inv_tokens(inverseTokens);
    written.loss_sum(0).grad_norm(0).clip_factor(1).finite(1);
    stream.copy(device.address(), host.address(), bytes());
  }

  /** Begins a step without balance losses; see above. */
  public void begin(
      Stream stream, long step, long seed, float lr, float inverseTargets, float clipNorm) {
    begin(stream, step, seed, lr, inverseTargets, 0, clipNorm);
  }

  /** Waits for the stream and reads the results. */
  public Result result(Stream stream) {
    stream.copy(host.address() + bytes(), device.address(), bytes());
    stream.synchronize();
    return new Result(read.loss_sum(), read.grad_norm(), read.clip_factor(), read.finite() != 0);
  }

  /** Frees it. */
  @Override
  public void close() {
    host.close();
  }
}
