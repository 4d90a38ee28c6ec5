package dev.caravan.tensor;

import dev.caravan.kernels.DType;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * What is known of a tensor before a byte of it exists: its dtype and its row-major shape.
 *
 * @param dtype element type
 * @param shape extents, each at least 0; rank 1 to 4
 */
public record TensorType(DType dtype, long... shape) {
  /** Copies the shape and checks it. */
  public TensorType {
    shape = shape.clone();
    if (shape.length < 1 || shape.length > 4) {
      throw new IllegalArgumentException("got rank " + shape.length + ", needs 1 to 4");
    }
    for (long extent : shape) {
      if (extent < 0) {
        throw new IllegalArgumentException("got shape " + Arrays.toString(shape));
      }
    }
  }

  /** A float32 type. */
  public static TensorType f32(long... shape) {
    return new TensorType(DType.F32, shape);
  }

  /** A 32-bit integer type: ids, positions, offsets, counts. */
  public static TensorType i32(long... shape) {
    return new TensorType(DType.I32, shape);
  }

  /** Untyped bytes: workspaces. */
  public static TensorType bytes(long bytes) {
    return new TensorType(DType.U8, bytes);
  }

  @Override
  public long[] shape() {
    return shape.clone();
  }

  /** Number of axes. */
  public int rank() {
    return shape.length;
  }

  /** Extent of one axis; negative axes count from the end. */
  public long dim(int axis) {
    return shape[axis < 0 ? shape.length + axis : axis];
  }

  /** Number of elements. */
  public long elements() {
    long elements = 1;
    for (long extent : shape) {
      elements = Math.multiplyExact(elements, extent);
    }
    return elements;
  }

  /** Size in bytes, without gaps. */
  public long byteSize() {
    return Math.multiplyExact(elements(), dtype.bytes());
  }

  /** All axes but the last, multiplied. */
  public long rows() {
    return dim(-1) == 0 ? 0 : elements() / dim(-1);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorType that
        && dtype == that.dtype
        && Arrays.equals(shape, that.shape);
  }

  @Override
  public int hashCode() {
    return 31 * dtype.hashCode() + Arrays.hashCode(shape);
  }

  @Override
  public String toString() {
    return dtype.name().toLowerCase(java.util.Locale.ROOT)
        + Arrays.stream(shape).mapToObj(Long::toString).collect(Collectors.joining(", ", "[", "]"));
  }
}
