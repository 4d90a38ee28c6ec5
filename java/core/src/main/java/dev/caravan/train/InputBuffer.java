package dev.caravan.train;

import dev.caravan.data.pack.MicroBatch;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.nn.Inputs;
import dev.caravan.tensor.Tensor;
import java.nio.IntBuffer;
import java.util.Arrays;

/**
 * The host side of the inputs: packed buffers are written here and uploaded by one copy. Filling and
 * uploading allocate nothing.
 */
public final class InputBuffer implements AutoCloseable {
  private final Memory host;
  private final TensorRef device;
  private final long bytes;
  private final IntBuffer ids;
  private final IntBuffer positions;
  private final IntBuffer documents;
  private final IntBuffer tokens;
  private final IntBuffer targetRows;
  private final IntBuffer targetIds;
  private final IntBuffer targets;
  private final int[] padded;

  /**
   * @param plan whose inputs are those of {@link Inputs}
   * @param in the inputs
   * @param device all inputs of the executor
   */
  public InputBuffer(Plan plan, Inputs in, TensorRef device) {
    this.device = device;
    bytes = plan.inputBytes();
    host = Memory.allocate(Device.CPU, bytes);
    ids = view(plan, in.ids());
    positions = view(plan, in.positions());
    documents = view(plan, in.documents());
    tokens = view(plan, in.tokens());
    targetRows = view(plan, in.targetRows());
    targetIds = view(plan, in.targetIds());
    targets = view(plan, in.targets());
    padded = new int[documents.capacity()];
  }

  private IntBuffer view(Plan plan, Tensor tensor) {
    return host.view(
            plan.leafOffset(tensor.name()), Math.toIntExact(tensor.type().byteSize()))
        .asIntBuffer();
  }

  /** Copies one packed buffer to the device. Rows behind the last document are padding. */
  public void upload(MicroBatch batch, Stream stream) {
    int used = batch.cuSeqlens()[batch.documents()];
    ids.put(0, batch.ids(), 0, ids.capacity());
    positions.put(0, batch.positions(), 0, positions.capacity());
    System.arraycopy(batch.cuSeqlens(), 0, padded, 0, batch.documents() + 1);
    Arrays.fill(padded, batch.documents() + 1, padded.length, used);
    documents.put(0, padded);
    tokens.put(0, used);
    targetRows.put(0, batch.targetRows(), 0, batch.targets());
    targetIds.put(0, batch.targetIds(), 0, batch.targets());
    targets.put(0, batch.targets());
    stream.copy(device.address(), host.address(), bytes);
  }

  @Override
  public void close() {
    host.close();
  }
}
