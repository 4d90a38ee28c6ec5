package dev.caravan.checkpoint;

import dev.caravan.kernels.Memory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Native memory as safetensors files have it: little-endian bytes. Owns nothing. */
final class NativeBytes {
  private NativeBytes() {}

  /**
   * A little-endian buffer over [address, address + bytes). The buffer does not keep the memory
   * alive.
   */
  static ByteBuffer at(long address, int bytes) {
    ByteBuffer view = bytes == 0 ? ByteBuffer.allocate(0) : Memory.hostView(address, bytes);
    return view.order(ByteOrder.LITTLE_ENDIAN);
  }
}
