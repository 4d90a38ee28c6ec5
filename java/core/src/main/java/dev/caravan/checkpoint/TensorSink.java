package dev.caravan.checkpoint;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.List;

/**
 * Moves one tensor from its file to native memory or an array, in pieces that stay in the cache:
 * read, widened to float32 bits, checked for NaN and infinity, stored.
 */
final class TensorSink {
  private static final int PIECE_ELEMENTS = 1 << 16;
  private static final int EXPONENT = 0x7f80_0000;

  private final TensorInfo info;
  private final StoredType target;
  private final long address; // 0 where nothing is kept
  private final TensorAccess access;
  private final float[] array;
  private ByteBuffer converted; // made when first needed

  private TensorSink(
      TensorInfo info, StoredType target, long address, TensorAccess access, float[] array) {
    this.info = info;
    this.target = target;
    this.address = address;
    this.access = access;
    this.array = array;
    boolean converts =
        info.type().isFloat() && (target == StoredType.F32 || target == StoredType.BF16);
    if (target != info.type() && !converts) {
      throw new UserError(
          SafetensorsHeader.place(info.file(), info.name())
              + "got "
              + info.type()
              + ", needs "
              + (target.isFloat()
                  ? List.of(StoredType.F32, StoredType.F16, StoredType.BF16)
                  : target));
    }
  }

  /** Whether the bytes of the file are the bytes that are wanted. */
  private boolean raw() {
    return target == info.type();
  }

  static TensorSink nativeMemory(TensorInfo info, NamedTensor target) {
    return new TensorSink(info, target.type(), target.address(), target.access(), null);
  }

  /** Only checks. */
  static TensorSink nowhere(TensorInfo info) {
    return new TensorSink(info, info.type(), 0, null, null);
  }

  static TensorSink array(TensorInfo info, float[] array) {
    return new TensorSink(info, StoredType.F32, 0, null, array);
  }

  void readFrom(FileChannel channel) throws IOException {
    int size = info.type().bytes();
    int most = (int) Math.min(PIECE_ELEMENTS, info.elements());
    ByteBuffer piece = ByteBuffer.allocateDirect(most * size).order(ByteOrder.LITTLE_ENDIAN);
    int[] bits = new int[most];
    long done = 0;
    while (done < info.elements()) {
      int count = (int) Math.min(PIECE_ELEMENTS, info.elements() - done);
      piece.clear().limit(count * size);
      SafetensorsHeader.readFully(channel, piece, info.offset() + done * size, info.file());
      piece.flip();
      if (info.type().isFloat() && !(raw() && target == StoredType.F64)) {
        widen(piece, bits, count);
        refuseNonFinite(bits, count, done);
      }
      store(piece, bits, count, done);
      done += count;
    }
  }

  /** Turns {@code count} elements into the bits of float32 values. */
  private void widen(ByteBuffer piece, int[] bits, int count) {
    switch (info.type()) {
      case F32 -> piece.asIntBuffer().get(bits, 0, count);
      case BF16 -> {
        short[] halves = shorts(piece, count);
        for (int i = 0; i < count; i++) {
          bits[i] = halves[i] << 16;
        }
      }
      case F16 -> {
        short[] halves = shorts(piece, count);
        for (int i = 0; i < count; i++) {
          bits[i] = Halves.fromFloat16(halves[i]);
        }
      }
      case F64 -> {
        for (int i = 0; i < count; i++) {
          bits[i] = Float.floatToRawIntBits((float) piece.getDouble(i * Double.BYTES));
        }
      }
      default -> throw new AssertionError(info.type());
    }
  }

  private static short[] shorts(ByteBuffer piece, int count) {
    short[] values = new short[count];
    piece.asShortBuffer().get(values);
    return values;
  }

  /**
   * The first loop has no exit, so that it becomes vector code; the second runs only to name the
   * element.
   */
  private void refuseNonFinite(int[] bits, int count, long first) {
    int largest = 0;
    for (int i = 0; i < count; i++) {
      largest = Math.max(largest, bits[i] & EXPONENT);
    }
    if (largest < EXPONENT) {
      return;
    }
    for (int i = 0; i < count; i++) {
      if ((bits[i] & EXPONENT) == EXPONENT) {
        throw new UserError(
            SafetensorsHeader.place(info.file(), info.name())
                + "element "
                + index(first + i)
                + " is "
                + Float.intBitsToFloat(bits[i])
                + ", weights must be finite");
      }
    }
  }

  /** The element's place in the tensor's shape, for example [3, 17]. */
  private String index(long element) {
    long[] index = new long[info.shape().size()];
    long rest = element;
    for (int d = index.length - 1; d >= 0; d--) {
      index[d] = rest % info.shape().get(d);
      rest /= info.shape().get(d);
    }
    return Arrays.toString(index);
  }

  private void store(ByteBuffer piece, int[] bits, int count, long first) {
    if (array == null && address == 0) {
      return;
    }
    if (raw() && array == null) {
      access.write(address + first * target.bytes(), piece);
    } else if (array != null) {
      for (int i = 0; i < count; i++) {
        array[(int) first + i] = Float.intBitsToFloat(bits[i]);
      }
    } else {
      access.write(address + first * target.bytes(), convert(bits, count));
    }
  }

  /** Bits of float32 values as bytes of the target's type. */
  private ByteBuffer convert(int[] bits, int count) {
    if (converted == null) {
      converted =
          ByteBuffer.allocateDirect(bits.length * target.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    }
    converted.clear().limit(count * target.bytes());
    if (target == StoredType.F32) {
      converted.asIntBuffer().put(bits, 0, count);
    } else {
      short[] halves = new short[count];
      for (int i = 0; i < count; i++) {
        halves[i] = Halves.toBfloat16(bits[i]);
      }
      converted.asShortBuffer().put(halves);
    }
    return converted;
  }
}
