package dev.caravan.train;

import dev.caravan.data.pack.MicroBatch;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Event;
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
 *
 * <p>A GPU has two slots, each with page-locked host memory and a place on the device: while the
 * kernels work on one buffer, the next is filled and uploaded on a stream of its own, and moves to
 * where the kernels read it, on the device, when they are through.
 */
public final class InputBuffer implements AutoCloseable {
  private static final int CUDA_SLOTS = 2;

  private final Stream stream;
  private final TensorRef inputs;
  private final long bytes;
  private final Slot[] slots;
  private final Memory host;
  private final Memory device;
  private final Stream copies;
  private int next;

  /** The place of one buffer: what the host writes, and the events that tell when it may. */
  private record Slot(
      IntBuffer ids,
      IntBuffer positions,
      IntBuffer documents,
      IntBuffer tokens,
      IntBuffer targetRows,
      IntBuffer targetIds,
      IntBuffer targets,
      int[] padded,
      Event uploaded,
      Event taken) {}

  /**
   * @param plan whose inputs are those of {@link Inputs}
   * @param in the inputs
   * @param inputs all inputs of the executor
   * @param stream that the kernels run on
   */
  public InputBuffer(Plan plan, Inputs in, TensorRef inputs, Stream stream) {
    this.stream = stream;
    this.inputs = inputs;
    bytes = plan.inputBytes();
    Device on = stream.device();
    int count = count(on.kind());
    boolean cuda = on.kind() == Device.Kind.CUDA;
    host = Memory.staging(on, count * bytes);
    device = cuda ? Memory.allocate(on, deviceBytes(plan, on.kind())) : null;
    copies = cuda ? Stream.open(on, 1) : null;
    slots = new Slot[count];
    for (int i = 0; i < count; i++) {
      slots[i] = slot(plan, in, i * bytes, on);
    }
  }

  private static int count(Device.Kind kind) {
    return kind == Device.Kind.CUDA ? CUDA_SLOTS : 1;
  }

  /** Bytes of the device's memory that it takes. */
  static long deviceBytes(Plan plan, Device.Kind kind) {
    return kind == Device.Kind.CUDA ? CUDA_SLOTS * plan.inputBytes() : 0;
  }

  /** Bytes of host memory that it takes. */
  static long hostBytes(Plan plan, Device.Kind kind) {
    return count(kind) * plan.inputBytes();
  }

  private Slot slot(Plan plan, Inputs in, long at, Device on) {
    IntBuffer documents = view(plan, in.documents(), at);
    return new Slot(
        view(plan, in.ids(), at),
        view(plan, in.positions(), at),
        documents,
        view(plan, in.tokens(), at),
        view(plan, in.targetRows(), at),
        view(plan, in.targetIds(), at),
        view(plan, in.targets(), at),
        new int[documents.capacity()],
        Event.open(on),
        Event.open(on));
  }

  private IntBuffer view(Plan plan, Tensor tensor, long at) {
    return host.view(
            at + plan.leafOffset(tensor.name()), Math.toIntExact(tensor.type().byteSize()))
        .asIntBuffer();
  }

  /** Gives one packed buffer to the kernels that are launched from now on. */
  public void upload(MicroBatch batch) {
    int index = next;
    next = (next + 1) % slots.length;
    if (copies != null) {
      copies.synchronize(); // what was in the slot has left the host
    }
    fill(slots[index], batch);
    long from = host.address() + index * bytes;
    if (copies == null) {
      stream.copy(inputs.address(), from, bytes);
      return;
    }
    Slot slot = slots[index];
    long staged = device.address() + index * bytes;
    copies.await(slot.taken);
    copies.copy(staged, from, bytes);
    slot.uploaded.record(copies);
    stream.await(slot.uploaded);
    stream.copy(inputs.address(), staged, bytes);
    slot.taken.record(stream);
  }

  /** Rows behind the last document are padding. */
  private static void fill(Slot to, MicroBatch batch) {
    int used = batch.cuSeqlens()[batch.documents()];
    to.ids.put(0, batch.ids(), 0, to.ids.capacity());
    to.positions.put(0, batch.positions(), 0, to.positions.capacity());
    System.arraycopy(batch.cuSeqlens(), 0, to.padded, 0, batch.documents() + 1);
    Arrays.fill(to.padded, batch.documents() + 1, to.padded.length, used);
    to.documents.put(0, to.padded);
    to.tokens.put(0, used);
    to.targetRows.put(0, batch.targetRows(), 0, batch.targets());
    to.targetIds.put(0, batch.targetIds(), 0, batch.targets());
    to.targets.put(0, batch.targets());
  }

  @Override
  public void close() {
    for (Slot slot : slots) {
      slot.uploaded.close();
      slot.taken.close();
    }
    if (copies != null) {
      copies.close();
      device.close();
    }
    host.close();
  }
}
