package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Small tensors on the CPU for tests, filled, poisoned and read from Java; a stream to run calls
 * on.
 */
final class Arena implements AutoCloseable {
  final Stream stream;
  private final Random random;
  private final List<Memory> blocks = new ArrayList<>();

  Arena(long seed) {
    stream = Stream.open(Device.CPU, 2);
    random = new Random(seed);
  }

  private TensorRef allocate(DType dtype, long... shape) {
    long elements = 1;
    for (long extent : shape) {
      elements *= extent;
    }
    Memory memory = Memory.allocate(Device.CPU, Math.max(elements * dtype.bytes(), 1));
    blocks.add(memory);
    return TensorRef.in(memory, 0, dtype, shape);
  }

  /** A float32 output: every element NaN. */
  TensorRef poisoned(long... shape) {
    TensorRef tensor = allocate(DType.F32, shape);
    ByteBuffer bytes = bytes(tensor);
    while (bytes.hasRemaining()) {
      bytes.putFloat(Float.NaN);
    }
    return tensor;
  }

  /** Zeros, for an output that is added to. */
  TensorRef zeros(DType dtype, long... shape) {
    return allocate(dtype, shape);
  }

  /** Random float32 in -1 to 1. */
  TensorRef random(long... shape) {
    TensorRef tensor = allocate(DType.F32, shape);
    ByteBuffer bytes = bytes(tensor);
    while (bytes.hasRemaining()) {
      bytes.putFloat(random.nextFloat() * 2 - 1);
    }
    return tensor;
  }

  /** Int32 values. */
  TensorRef ints(int... values) {
    TensorRef tensor = allocate(DType.I32, values.length);
    bytes(tensor).asIntBuffer().put(values);
    return tensor;
  }

  /** Int32 values in {@code rows} rows. */
  TensorRef intRows(int rows, int... values) {
    TensorRef tensor = allocate(DType.I32, rows, values.length / rows);
    bytes(tensor).asIntBuffer().put(values);
    return tensor;
  }

  /** Float32 values of a given shape. */
  TensorRef floats(long[] shape, double... values) {
    TensorRef tensor = allocate(DType.F32, shape);
    ByteBuffer bytes = bytes(tensor);
    for (double value : values) {
      bytes.putFloat((float) value);
    }
    return tensor;
  }

  /** Runs a call with its workspace, then frees it. */
  void run(KernelCall call) {
    long bytes = call.workspaceBytes(Device.Kind.CPU);
    if (bytes > 0) {
      call.workspace(allocate(DType.U8, bytes).address(), bytes);
    }
    call.run(stream);
    call.close();
  }

  static ByteBuffer bytes(TensorRef tensor) {
    return Memory.hostView(tensor.address(), (int) tensor.bytes());
  }

  /** All elements of a float32 tensor. */
  static double[] values(TensorRef tensor) {
    double[] values = new double[(int) tensor.elements()];
    ByteBuffer bytes = bytes(tensor);
    for (int i = 0; i < values.length; i++) {
      values[i] = bytes.getFloat(4 * i);
    }
    return values;
  }

  static void assertNear(double[] expected, TensorRef got) {
    double[] values = values(got);
    assertEquals(expected.length, values.length);
    for (int i = 0; i < values.length; i++) {
      assertEquals(expected[i], values[i], 2e-5, "element " + i);
    }
  }

  @Override
  public void close() {
    stream.close();
    blocks.forEach(Memory::close);
  }
}
