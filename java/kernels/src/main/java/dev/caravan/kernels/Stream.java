package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * An order of work on a device: what is given to one stream is done in that order. A CPU stream
 * runs each op before the call returns, on its own pool of threads. One thread at a time may use a
 * stream.
 */
public final class Stream implements AutoCloseable {
  private final Device device;
  private final int threads;
  private long handle;
  private CallWatch watch;

  private Stream(Device device, int threads, long handle) {
    this.device = device;
    this.threads = threads;
    this.handle = handle;
  }

  /**
   * Makes a stream.
   *
   * @param threads of a CPU stream, the caller's included; ignored on CUDA
   */
  public static Stream open(Device device, int threads) {
    Native.load();
    try (LongPointer handle = new LongPointer(1)) {
      Native.check(
          Caravan.caravan_stream_create(
              device.kind().code(), device.index(), threads, handle.address()));
      return new Stream(device, threads, handle.get());
    }
  }

  /** The device that it works on. */
  public Device device() {
    return device;
  }

  /** Threads of a CPU stream. */
  public int threads() {
    return threads;
  }

  /**
   * The native handle, a {@code caravan_stream}.
   *
   * @throws IllegalStateException if the stream was closed
   */
  public long handle() {
    if (handle == 0) {
      throw new IllegalStateException("this stream was closed");
    }
    return handle;
  }

  /** Tells {@code watch} of every op from now on; null for nobody. */
  public void watch(CallWatch watch) {
    this.watch = watch;
  }

  /** Who hears of every op; null for nobody. */
  CallWatch watch() {
    return watch;
  }

  /** Whether somebody hears of every op. */
  public boolean watched() {
    return watch != null;
  }

  /**
   * The device's own handle, for a vendor's library to work on the stream; 0 for a CPU stream, which
   * has none.
   */
  public long nativeHandle() {
    try (PointerPointer<BytePointer> handle = new PointerPointer<>(1)) {
      Native.check(Caravan.caravan_stream_native(handle(), handle.put(0, null)));
      BytePointer known = handle.get(BytePointer.class, 0);
      return known == null ? 0 : known.address();
    }
  }

  /** Waits until all that was given is done. */
  public void synchronize() {
    Native.check(Caravan.caravan_stream_synchronize(handle()));
  }

  /** Copies bytes between any two of host and device. The ranges must not overlap. */
  public void copy(long to, long from, long bytes) {
    Native.check(Caravan.caravan_memcpy(handle(), to, from, bytes));
  }

  /** Sets every byte to {@code value} (0 to 255). */
  public void fill(long address, int value, long bytes) {
    Native.check(Caravan.caravan_memset(handle(), address, value, bytes));
  }

  /** Lets work given after this wait for the event. */
  public void await(Event event) {
    Native.check(Caravan.caravan_stream_wait(handle(), event.handle()));
  }

  /**
   * Records what is given from now on instead of doing it.
   *
   * @throws KernelException.Unsupported on the CPU
   */
  public void beginCapture() {
    Native.check(Caravan.caravan_capture_begin(handle()));
  }

  /** Ends {@link #beginCapture}: what was recorded, to be launched as one. */
  public CapturedGraph endCapture() {
    try (LongPointer graph = new LongPointer(1)) {
      Native.check(Caravan.caravan_capture_end(handle(), graph.address()));
      return new CapturedGraph(graph.get());
    }
  }

  /** Ends its threads. Closing twice does nothing more. */
  @Override
  public void close() {
    if (handle != 0) {
      long closed = handle;
      handle = 0;
      Native.check(Caravan.caravan_stream_destroy(closed));
    }
  }
}
