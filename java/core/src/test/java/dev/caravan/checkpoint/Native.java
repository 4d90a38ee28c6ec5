package dev.caravan.checkpoint;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** Native memory for tests: filled with a poison pattern, freed on close. */
final class Native implements AutoCloseable {
  private final List<BytePointer> blocks = new ArrayList<>();

  /** A poisoned tensor. */
  NamedTensor tensor(String name, StoredType type, Long... shape) {
    long bytes = Shapes.bytes(List.of(shape), type);
    BytePointer block = new BytePointer(Math.max(1, bytes));
    Pointer.memset(block, 0xCD, Math.max(1, bytes));
    blocks.add(block);
    return new NamedTensor(name, block.address(), bytes, type, List.of(shape));
  }

  /** A float32 tensor of finite random values. */
  NamedTensor random(String name, Random random, Long... shape) {
    NamedTensor tensor = tensor(name, StoredType.F32, shape);
    ByteBuffer bytes = bytes(tensor);
    while (bytes.hasRemaining()) {
      bytes.putFloat((float) random.nextGaussian());
    }
    return tensor;
  }

  static ByteBuffer bytes(NamedTensor tensor) {
    return NativeBytes.at(tensor.address(), (int) tensor.bytes());
  }

  @Override
  public void close() {
    blocks.forEach(BytePointer::close);
  }
}
