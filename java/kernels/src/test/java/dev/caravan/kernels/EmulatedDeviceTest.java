package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.nvidia.CublasLt;
import dev.caravan.kernels.nvidia.NvidiaLibraries;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Device, memory, streams, events and recording as a GPU has them, on the emulated one. */
@Tag("simt")
class EmulatedDeviceTest {
  private static final Device CUDA = Device.cuda(0);
  private static final int COUNT = 1000;

  private Stream stream;
  private final List<Memory> owned = new ArrayList<>();

  @BeforeEach
  void open() {
    stream = Stream.open(CUDA, 1);
  }

  @AfterEach
  void close() {
    owned.forEach(Memory::close);
    stream.close();
  }

  private TensorRef floats(float... values) {
    Memory memory = Memory.allocate(CUDA, values.length * 4L);
    owned.add(memory);
    write(memory.address(), values);
    return TensorRef.in(memory, 0, DType.F32, values.length);
  }

  private void write(long address, float... values) {
    try (Memory host = Memory.staging(CUDA, values.length * 4L)) {
      host.view(0, values.length * 4).asFloatBuffer().put(values);
      stream.copy(address, host.address(), host.bytes());
      stream.synchronize();
    }
  }

  private float[] read(TensorRef tensor) {
    float[] values = new float[(int) tensor.elements()];
    try (Memory host = Memory.staging(CUDA, tensor.bytes())) {
      stream.copy(host.address(), tensor.address(), tensor.bytes());
      stream.synchronize();
      host.view(0, (int) tensor.bytes()).asFloatBuffer().get(values);
    }
    return values;
  }

  private static float[] sequence(float first) {
    float[] values = new float[COUNT];
    for (int i = 0; i < COUNT; i++) {
      values[i] = first + i;
    }
    return values;
  }

  @Test
  void theEmulatedDeviceIsThereAndSaysSo() {
    assertEquals(1, Device.probe(Device.Kind.CUDA).count());
    assertTrue(CUDA.name().contains("emulation"), CUDA.name());
    assertTrue(CUDA.capability() >= 80);
    Memory.Room room = Memory.room(CUDA);
    assertTrue(room.freeBytes() > 0 && room.freeBytes() <= room.totalBytes());
    assertEquals(CUDA.memoryBytes(), room.totalBytes());
  }

  @Test
  void whatADeviceHoldsIsCountedHostMemoryLeftOut() {
    long before = Memory.heldBytes(Device.Kind.CUDA);
    long free = Memory.room(CUDA).freeBytes();
    try (Memory memory = Memory.allocate(CUDA, 1 << 20);
        Memory host = Memory.staging(CUDA, 1 << 10)) {
      assertEquals(before + (1 << 20), Memory.heldBytes(Device.Kind.CUDA));
      assertTrue(Memory.room(CUDA).freeBytes() <= free - (1 << 20));
      assertThrows(IllegalStateException.class, () -> memory.view(0, 1));
      ByteBuffer view = host.view(0, 1 << 10);
      for (int i = 0; i < view.limit(); i++) {
        assertEquals(0, view.get(i));
      }
    }
    assertEquals(before, Memory.heldBytes(Device.Kind.CUDA));
  }

  @Test
  void moreThanTheDeviceHasIsRefused() {
    long all = CUDA.memoryBytes();
    KernelException error =
        assertThrows(
            KernelException.OutOfMemory.class, () -> Memory.allocate(CUDA, 2 * all));
    assertEquals(
        "malloc: bytes: got " + 2 * all + ": cuda:0: out of memory", error.getMessage());
  }

  @Test
  void recordedWorkIsDoneWhenItIsReplayedOnWhatLiesThereThen() {
    TensorRef a = floats(sequence(1));
    TensorRef b = floats(sequence(0.5f));
    TensorRef out = floats(new float[COUNT]);
    try (KernelCall add = Elementwise.add(a, b, out)) {
      stream.beginCapture();
      add.run(stream);
      try (CapturedGraph graph = stream.endCapture()) {
        assertArrayEquals(new float[COUNT], read(out), "recording does nothing");
        graph.launch(stream);
        assertEquals(1.5f, read(out)[0]);
        write(a.address(), 10);
        graph.launch(stream);
        assertEquals(10.5f, read(out)[0]);
        assertEquals(COUNT + 998.5f + 1, read(out)[COUNT - 1]);
      }
    }
  }

  @Test
  void aFailureWhileRecordingLeavesTheStreamUsable() {
    TensorRef a = floats(1, 2);
    TensorRef three = floats(1, 2, 3);
    try (KernelCall refused = Elementwise.add(a, three, a);
        KernelCall fine = Elementwise.add(a, a, a)) {
      stream.beginCapture();
      assertThrows(KernelException.InvalidArgument.class, () -> refused.run(stream));
      stream.endCapture().close();
      fine.run(stream);
      assertArrayEquals(new float[] {2, 4}, read(a));
    }
  }

  @Test
  void streamsWaitForEventsAndEventsTellTime() {
    TensorRef a = floats(sequence(0));
    TensorRef out = floats(new float[COUNT]);
    try (Stream copies = Stream.open(CUDA, 1);
        Event never = Event.open(CUDA);
        Event began = Event.open(CUDA);
        Event copied = Event.open(CUDA)) {
      copies.await(never); // an event that was never recorded holds nobody up
      began.record(copies);
      copies.copy(out.address(), a.address(), a.bytes());
      copied.record(copies);
      stream.await(copied);
      try (KernelCall add = Elementwise.add(out, out, out)) {
        add.run(stream);
      }
      assertEquals(2 * (COUNT - 1), read(out)[COUNT - 1]);
      assertTrue(began.millisecondsTo(copied) >= 0);
    }
  }

  @Test
  void aStepStateIsWrittenAndReadByWayOfHostMemory() {
    try (Memory memory = Memory.allocate(CUDA, StepState.bytes());
        StepState state =
            new StepState(TensorRef.in(memory, 0, DType.U8, StepState.bytes()), CUDA)) {
      state.begin(stream, 3, 17, 0.5f, 0.25f, 1);
      StepState.Result result = state.result(stream);
      assertEquals(0, result.lossSum());
      assertTrue(result.finite());
      stream.fill(memory.address(), 0, StepState.bytes());
      assertFalse(state.result(stream).finite());
    }
  }

  @Test
  void rangesOpenAndClose() {
    Ranges.push(Device.Kind.CUDA, "outer");
    Ranges.push(Device.Kind.CUDA, "inner");
    Ranges.pop(Device.Kind.CUDA);
    Ranges.pop(Device.Kind.CUDA);
  }

  /** A stand-in's streams are no streams of NVIDIA's, so only stand-ins of its libraries load. */
  @Test
  void onAStandInThereIsNoOtherLibraryThanNcclsStandIn() {
    List<String> reasons = new ArrayList<>();
    assertTrue(CublasLt.open(stream, reasons::add).isEmpty());
    assertTrue(reasons.get(0).contains("libcaravan_simt.so"), reasons.get(0));
    for (NvidiaLibraries.Library library : NvidiaLibraries.Library.values()) {
      boolean usable = NvidiaLibraries.load(library).usable();
      assertEquals(library == NvidiaLibraries.Library.NCCL, usable, library.toString());
    }
  }
}
