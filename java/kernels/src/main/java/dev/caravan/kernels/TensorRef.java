package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_tensor;
import java.util.Arrays;

/**
 * A view of memory that somebody else owns: what an op reads or writes.
 *
 * @param address of the first element, on the device of the stream that the op runs on
 * @param bytes how many bytes may be touched from there on
 * @param dtype element type
 * @param shape 1 to 4 extents; 0 makes an empty tensor
 * @param stride steps in elements, as many as extents; the last is 1, none is negative
 */
public record TensorRef(long address, long bytes, DType dtype, long[] shape, long[] stride) {
  /** The greatest number of extents. */
  public static final int MAX_RANK = 4;

  /**
   * Checks that all elements lie within {@code bytes}.
   *
   * @throws KernelException.InvalidArgument if they do not, or if a parameter is not as described
   */
  public TensorRef {
    shape = shape.clone();
    stride = stride.clone();
    if (address == 0) {
      throw invalid("tensor: got the null address");
    }
    if (address % dtype.bytes() != 0) {
      throw invalid("tensor: got an address that is no multiple of " + dtype.bytes());
    }
    if (shape.length < 1 || shape.length > MAX_RANK || stride.length != shape.length) {
      throw invalid(
          "tensor: got %d extents and %d strides, needs 1 to %d of both"
              .formatted(shape.length, stride.length, MAX_RANK));
    }
    long needed = spanBytes(dtype, shape, stride);
    if (needed > bytes) {
      throw invalid(
          "tensor %s %s: needs %d bytes, got %d"
              .formatted(dtype, Arrays.toString(shape), needed, bytes));
    }
  }

  /** A tensor without gaps of the given shape, at the address. */
  public static TensorRef of(long address, DType dtype, long... shape) {
    long[] stride = contiguous(shape);
    return new TensorRef(address, spanBytes(dtype, shape, stride), dtype, shape, stride);
  }

  /** Part of a block of memory, without gaps, from {@code offset} bytes on. */
  public static TensorRef in(Memory memory, long offset, DType dtype, long... shape) {
    if (offset < 0 || offset > memory.bytes()) {
      throw invalid("tensor: got offset %d in %d bytes".formatted(offset, memory.bytes()));
    }
    return new TensorRef(
        memory.address() + offset, memory.bytes() - offset, dtype, shape, contiguous(shape));
  }

  /** Strides of a tensor without gaps. */
  public static long[] contiguous(long... shape) {
    long[] stride = new long[shape.length];
    long step = 1;
    for (int i = shape.length - 1; i >= 0; i--) {
      stride[i] = step;
      step = multiply(step, Math.max(shape[i], 1));
    }
    return stride;
  }

  /** The number of elements. */
  public long elements() {
    long product = 1;
    for (long extent : shape) {
      product *= extent;
    }
    return product;
  }

  /** From the first to behind the last element, in bytes. */
  private static long spanBytes(DType dtype, long[] shape, long[] stride) {
    long last = 0;
    boolean empty = false;
    for (int i = 0; i < shape.length; i++) {
      if (shape[i] < 0 || stride[i] < 0) {
        throw invalid("tensor: got extent " + shape[i] + ", stride " + stride[i] + " on axis " + i);
      }
      empty |= shape[i] == 0;
      last = add(last, multiply(Math.max(shape[i] - 1, 0), stride[i]));
    }
    int inner = shape.length - 1;
    if (inner >= 0 && shape[inner] > 1 && stride[inner] != 1) {
      throw invalid("tensor: got last stride " + stride[inner] + ", needs 1");
    }
    return empty ? 0 : multiply(add(last, 1), dtype.bytes());
  }

  private static long multiply(long a, long b) {
    try {
      return Math.multiplyExact(a, b);
    } catch (ArithmeticException overflow) {
      throw invalid("tensor: the shape is too large to be counted");
    }
  }

  private static long add(long a, long b) {
    try {
      return Math.addExact(a, b);
    } catch (ArithmeticException overflow) {
      throw invalid("tensor: the shape is too large to be counted");
    }
  }

  private static KernelException invalid(String message) {
    return KernelException.of(Caravan.CARAVAN_INVALID_ARGUMENT, message);
  }

  /** Writes this view into a field of an args struct. */
  void into(caravan_tensor field) {
    field.data(address).bytes(bytes).dtype(dtype.code()).rank(shape.length);
    for (int i = 0; i < shape.length; i++) {
      field.shape(i, shape[i]).stride(i, stride[i]);
    }
  }

  @Override
  public long[] shape() {
    return shape.clone();
  }

  @Override
  public long[] stride() {
    return stride.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorRef that
        && address == that.address
        && bytes == that.bytes
        && dtype == that.dtype
        && Arrays.equals(shape, that.shape)
        && Arrays.equals(stride, that.stride);
  }

  @Override
  public int hashCode() {
    return Long.hashCode(address) * 31 + Arrays.hashCode(shape);
  }

  @Override
  public String toString() {
    return "TensorRef[0x%x %s %s]".formatted(address, dtype, Arrays.toString(shape));
  }
}
