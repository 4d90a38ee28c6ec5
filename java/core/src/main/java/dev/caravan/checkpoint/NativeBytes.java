package dev.caravan.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** A view of native memory as byte buffers. Owns nothing. */
final class NativeBytes {
  private NativeBytes() {}

  private static final class Window extends BytePointer {
    Window(long address, long bytes) {
      super((Pointer) null);
      this.address = address;
      this.limit = bytes;
      this.capacity = bytes;
    }
  }

  /**
   * A little-endian buffer over [address, address + bytes). The buffer does not keep the memory
   * alive.
   */
  static ByteBuffer at(long address, int bytes) {
    if (bytes == 0) {
      return ByteBuffer.allocate(0).order(ByteOrder.LITTLE_ENDIAN);
    }
    return new Window(address, bytes).asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }
}
