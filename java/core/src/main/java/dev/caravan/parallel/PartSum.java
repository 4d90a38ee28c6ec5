package dev.caravan.parallel;

import dev.caravan.kernels.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A sum of pieces in float32, rounded once at its end. Pieces fit the first cache and go through arrays,
 * which the JVM's compiler turns into vector instructions.
 */
final class PartSum {
  /** Most elements of a piece. */
  static final int PIECE = 4096;

  private final float[] sum = new float[PIECE];
  private final float[] part = new float[PIECE];
  private final short[] halves = new short[PIECE];
  private final ByteBuffer bytes =
      ByteBuffer.allocateDirect(PIECE * Float.BYTES).order(ByteOrder.nativeOrder());

  /** A buffer for a piece that comes from elsewhere. */
  ByteBuffer incoming(int length) {
    return bytes.clear().limit(length);
  }

  /** Adds a piece; the first one begins a new sum. */
  void add(ByteBuffer piece, DType dtype, int count, boolean first) {
    float[] to = first ? sum : part;
    if (dtype == DType.F32) {
      piece.order(ByteOrder.nativeOrder()).asFloatBuffer().get(to, 0, count);
    } else {
      piece.order(ByteOrder.nativeOrder()).asShortBuffer().get(halves, 0, count);
      for (int i = 0; i < count; i++) {
        to[i] = Float.intBitsToFloat(halves[i] << 16);
      }
    }
    if (!first) {
      for (int i = 0; i < count; i++) {
        sum[i] += part[i];
      }
    }
  }

  /** Writes the sum; to bfloat16 to nearest, ties to even. */
  void store(ByteBuffer to, DType dtype, int count) {
    if (dtype == DType.F32) {
      to.asFloatBuffer().put(sum, 0, count);
      return;
    }
    for (int i = 0; i < count; i++) {
      int bits = Float.floatToRawIntBits(sum[i]);
      boolean nan = Float.isNaN(sum[i]); // stays one
      halves[i] = (short) ((nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    to.asShortBuffer().put(halves, 0, count);
  }
}
