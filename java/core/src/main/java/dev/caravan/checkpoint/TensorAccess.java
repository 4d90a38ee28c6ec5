package dev.caravan.checkpoint;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** How the bytes of tensors are reached from the host: in place, or by copies over a stream. */
public interface TensorAccess extends AutoCloseable {
  /** Tensors in host memory. */
  TensorAccess HOST =
      new TensorAccess() {
        @Override
        public ByteBuffer read(long address, int bytes) {
          return NativeBytes.at(address, bytes);
        }

        @Override
        public void write(long address, ByteBuffer bytes) {
          NativeBytes.at(address, bytes.remaining()).put(bytes);
        }
      };

  /** Tensors of a stream's device; to be closed. */
  static TensorAccess of(Stream stream) {
    return stream.device().kind() == Device.Kind.CPU ? HOST : new Copies(stream);
  }

  /** The most bytes that one call reads or writes. */
  default int window() {
    return 64 << 20;
  }

  /** Bytes from an address on, little-endian; valid until the next call. */
  ByteBuffer read(long address, int bytes);

  /** Writes what remains in a buffer to an address. */
  void write(long address, ByteBuffer bytes);

  @Override
  default void close() {}

  /** By way of host memory that the device copies from and to directly. */
  final class Copies implements TensorAccess {
    private static final int WINDOW = 16 << 20;

    private final Stream stream;
    private final Memory host;

    private Copies(Stream stream) {
      this.stream = stream;
      host = Memory.staging(stream.device(), WINDOW);
    }

    @Override
    public int window() {
      return WINDOW;
    }

    @Override
    public ByteBuffer read(long address, int bytes) {
      if (bytes > 0) {
        stream.copy(host.address(), address, bytes);
        stream.synchronize();
      }
      return host.view(0, bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    @Override
    public void write(long address, ByteBuffer bytes) {
      int count = bytes.remaining();
      if (count > 0) {
        host.view(0, count).put(bytes);
        stream.copy(address, host.address(), count);
        stream.synchronize();
      }
    }

    @Override
    public void close() {
      host.close();
    }
  }
}
