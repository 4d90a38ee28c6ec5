package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import java.nio.charset.StandardCharsets;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;

/**
 * Where ops run and memory lies.
 *
 * @param kind CPU or CUDA
 * @param index counts the devices of a kind from 0; always 0 for the CPU
 */
public record Device(Kind kind, int index) {
  /** The kinds of device. */
  public enum Kind {
    CPU(Caravan.CARAVAN_CPU),
    CUDA(Caravan.CARAVAN_CUDA);

    private final int code;

    Kind(int code) {
      this.code = code;
    }

    /** The value of {@code caravan_device_kind}. */
    int code() {
      return code;
    }
  }

  /**
   * What a search for devices found.
   *
   * @param count usable devices
   * @param reason why there is none, as in "no NVIDIA driver"; "" when there is one
   */
  public record Probe(int count, String reason) {}

  /** The processor that this program runs on. */
  public static final Device CPU = new Device(Kind.CPU, 0);

  private static final int NAME_BYTES = 256;

  /** The CUDA device of that number, whether it exists or not. */
  public static Device cuda(int index) {
    return new Device(Kind.CUDA, index);
  }

  /**
   * Looks for devices of a kind. Never fails for want of a driver, a GPU or a CUDA build: that is
   * what the reason is for.
   */
  public static Probe probe(Kind kind) {
    Native.load();
    try (IntPointer count = new IntPointer(1)) {
      Native.check(Caravan.caravan_device_count(kind.code(), count.address()));
      return new Probe(count.get(), count.get() == 0 ? Native.lastError() : "");
    }
  }

  /**
   * The name that the device gives itself; for the CPU it ends with the instruction set of the
   * kernels.
   *
   * @throws KernelException if there is no such device
   */
  public String name() {
    return info().name;
  }

  /**
   * All memory of the device, in bytes.
   *
   * @throws KernelException if there is no such device
   */
  public long memoryBytes() {
    return info().memoryBytes;
  }

  /**
   * The architecture of a CUDA device, major * 10 + minor: 90 for Hopper; 0 for the CPU.
   *
   * @throws KernelException if there is no such device
   */
  public int capability() {
    Native.load();
    try (IntPointer capability = new IntPointer(1)) {
      Native.check(
          Caravan.caravan_device_capability(kind.code(), index, capability.address()));
      return capability.get();
    }
  }

  private record Info(String name, long memoryBytes) {}

  private Info info() {
    Native.load();
    byte[] name = new byte[NAME_BYTES];
    try (LongPointer memory = new LongPointer(1)) {
      Native.check(
          Caravan.caravan_device_info(kind.code(), index, name, NAME_BYTES, memory.address()));
      int length = 0;
      while (name[length] != 0) {
        length++;
      }
      return new Info(new String(name, 0, length, StandardCharsets.UTF_8), memory.get());
    }
  }

  /** "cpu", or "cuda:" and the index. */
  @Override
  public String toString() {
    return kind == Kind.CPU ? "cpu" : "cuda:" + index;
  }
}
