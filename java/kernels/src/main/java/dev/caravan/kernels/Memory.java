package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * A block of memory on a device, freed by {@link #close}. Aligned to 64 bytes (CPU, where it is
 * zeroed) or 256 bytes (CUDA). Not thread-safe to close.
 */
public final class Memory implements AutoCloseable {
  /**
   * What this process has asked for.
   *
   * @param allocations calls so far
   * @param liveBytes bytes held now
   */
  public record Stats(long allocations, long liveBytes) {}

  private final Device device;
  private final long bytes;
  private long address;

  private Memory(Device device, long bytes, long address) {
    this.device = device;
    this.bytes = bytes;
    this.address = address;
  }

  /**
   * Allocates.
   *
   * @param bytes at least 1
   * @throws KernelException.OutOfMemory if there is not that much
   */
  public static Memory allocate(Device device, long bytes) {
    Native.load();
    try (PointerPointer<BytePointer> data = new PointerPointer<>(1)) {
      Native.check(
          Caravan.caravan_malloc(device.kind().code(), device.index(), bytes, data.put(0, null)));
      return new Memory(device, bytes, data.get(BytePointer.class, 0).address());
    }
  }

  /** Counts over the whole process; a step that is prepared well does not change them. */
  public static Stats stats() {
    Native.load();
    try (LongPointer counts = new LongPointer(2)) {
      Native.check(Caravan.caravan_memory_stats(counts.address(), counts.address() + Long.BYTES));
      return new Stats(counts.get(0), counts.get(1));
    }
  }

  /**
   * Host memory as a buffer in native byte order, without a copy.
   *
   * @param address of CPU memory that outlives the buffer
   * @param bytes length; a buffer holds less than 2 GiB, so look at more piece by piece
   */
  public static ByteBuffer hostView(long address, int bytes) {
    if (address == 0 || bytes < 0) {
      throw KernelException.of(
          Caravan.CARAVAN_INVALID_ARGUMENT,
          "view: got address " + address + ", " + bytes + " bytes");
    }
    Native.load();
    return new HostView(address, bytes).asByteBuffer().limit(bytes).order(ByteOrder.nativeOrder());
  }

  /** A BytePointer at a given address, which owns nothing. */
  private static final class HostView extends BytePointer {
    HostView(long address, int bytes) {
      super((Pointer) null);
      this.address = address;
      this.limit = bytes;
      this.capacity = bytes;
    }
  }

  /** The device that it lies on. */
  public Device device() {
    return device;
  }

  /** Length in bytes. */
  public long bytes() {
    return bytes;
  }

  /**
   * The first byte.
   *
   * @throws IllegalStateException if it was freed
   */
  public long address() {
    if (address == 0) {
      throw new IllegalStateException("this memory was freed");
    }
    return address;
  }

  /**
   * Part of CPU memory as a buffer in native byte order, without a copy; it must not be used after
   * {@link #close}.
   *
   * @param offset first byte
   * @param length in bytes
   */
  public ByteBuffer view(long offset, int length) {
    if (device.kind() != Device.Kind.CPU) {
      throw new IllegalStateException("memory of " + device + " has no view on the host");
    }
    if (offset < 0 || length < 0 || offset > bytes - length) {
      throw KernelException.of(
          Caravan.CARAVAN_INVALID_ARGUMENT,
          "view: got %d bytes from %d on, of %d".formatted(length, offset, bytes));
    }
    return hostView(address() + offset, length);
  }

  /** Frees it. Closing twice does nothing more. */
  @Override
  public void close() {
    if (address != 0) {
      long freed = address;
      address = 0;
      Native.check(Caravan.caravan_free(device.kind().code(), device.index(), freed));
    }
  }
}
