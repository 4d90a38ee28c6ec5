package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Host memory in which tensors stay as they were while training goes on. */
final class HostCopy implements AutoCloseable {
  private final Memory memory;
  private long used;

  HostCopy(long bytes) {
    memory = Memory.allocate(Device.CPU, bytes);
  }

  /** Forgets what was copied. */
  void clear() {
    used = 0;
  }

  /** Copies tensors behind those that are there already. */
  List<NamedTensor> of(List<NamedTensor> tensors) {
    List<NamedTensor> copies = new ArrayList<>();
    for (NamedTensor tensor : tensors) {
      long address = memory.address() + used;
      TensorAccess access = tensor.access();
      for (long done = 0; done < tensor.bytes(); done += access.window()) {
        int bytes = (int) Math.min(access.window(), tensor.bytes() - done);
        ByteBuffer piece = access.read(tensor.address() + done, bytes);
        memory.view(used + done, bytes).put(piece);
      }
      used += tensor.bytes();
      copies.add(
          new NamedTensor(tensor.name(), address, tensor.bytes(), tensor.type(), tensor.shape()));
    }
    return copies;
  }

  @Override
  public void close() {
    memory.close();
  }
}
