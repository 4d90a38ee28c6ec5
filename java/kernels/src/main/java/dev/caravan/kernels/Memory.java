package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * A block of memory on a device, freed by {@link #close}. Aligned to 64 bytes (CPU, where it is
 * zeroed) or 256 bytes (CUDA). Not thread-safe to close.
 *
 * <p>Or a block of host memory that a device copies from and to directly; see {@link #staging}.
 */
public final class Memory implements AutoCloseable {
  /**
   * What this process has asked for.
   *
   * @param allocations calls so far
   * @param liveBytes bytes held now
   */
  public record Stats(long allocations, long liveBytes) {}

  /**
   * What a device has.
   *
   * @param freeBytes that nobody holds, other processes included
   * @param totalBytes all
   */
  public record Room(long freeBytes, long totalBytes) {}

  private static final Map<Device.Kind, AtomicLong> HELD = new EnumMap<>(Device.Kind.class);

  static {
    for (Device.Kind kind : Device.Kind.values()) {
      HELD.put(kind, new AtomicLong());
    }
  }

  private final Device device;
  private final boolean staging;
  private final long bytes;
  private long address;

  private Memory(Device device, boolean staging, long bytes, long address) {
    this.device = device;
    this.staging = staging;
    this.bytes = bytes;
    this.address = address;
    if (!staging) {
      HELD.get(device.kind()).addAndGet(bytes);
    }
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
      return new Memory(device, false, bytes, data.get(BytePointer.class, 0).address());
    }
  }

  /**
   * Host memory that copies to and from a device need not go around: page-locked for CUDA, so that
   * they run beside other work. Zeroed.
   *
   * @param bytes at least 1
   * @throws KernelException.OutOfMemory if there is not that much
   */
  public static Memory staging(Device device, long bytes) {
    Native.load();
    try (PointerPointer<BytePointer> data = new PointerPointer<>(1)) {
      Native.check(
          Caravan.caravan_malloc_host(
              device.kind().code(), device.index(), bytes, data.put(0, null)));
      return new Memory(device, true, bytes, data.get(BytePointer.class, 0).address());
    }
  }

  /** Bytes that this process holds on the devices of a kind, host memory for copies left out. */
  public static long heldBytes(Device.Kind kind) {
    return HELD.get(kind).get();
  }

  /**
   * Free and total memory of a device, now.
   *
   * @throws KernelException if there is no such device
   */
  public static Room room(Device device) {
    Native.load();
    try (LongPointer bytes = new LongPointer(2)) {
      Native.check(
          Caravan.caravan_memory_info(
              device.kind().code(),
              device.index(),
              bytes.address(),
              bytes.address() + Long.BYTES));
      return new Room(bytes.get(0), bytes.get(1));
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

  /** The device that it lies on, or for which it is host memory. */
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
   * Part of host memory as a buffer in native byte order, without a copy; it must not be used after
   * {@link #close}.
   *
   * @param offset first byte
   * @param length in bytes
   */
  public ByteBuffer view(long offset, int length) {
    if (!staging && device.kind() != Device.Kind.CPU) {
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
      int kind = device.kind().code();
      if (staging) {
        Native.check(Caravan.caravan_free_host(kind, device.index(), freed));
      } else {
        HELD.get(device.kind()).addAndGet(-bytes);
        Native.check(Caravan.caravan_free(kind, device.index(), freed));
      }
    }
  }
}
