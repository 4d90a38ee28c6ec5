package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

class MemoryTest {
  @Test
  void isZeroedAlignedAndCounted() {
    Memory.Stats before = Memory.stats();
    try (Memory memory = Memory.allocate(Device.CPU, 5_000_001)) {
      assertEquals(0, memory.address() % 64);
      Memory.Stats during = Memory.stats();
      assertEquals(before.allocations() + 1, during.allocations());
      assertEquals(before.liveBytes() + 5_000_001, during.liveBytes());
      ByteBuffer view = memory.view(0, 5_000_001);
      long sum = 0;
      while (view.hasRemaining()) {
        sum += view.get() & 0xff;
      }
      assertEquals(0, sum);
    }
    assertEquals(before.liveBytes(), Memory.stats().liveBytes());
  }

  @Test
  void streamsCopyAndFill() {
    Random random = new Random(3);
    byte[] bytes = new byte[3_000_017];
    random.nextBytes(bytes);
    try (Stream stream = Stream.open(Device.CPU, 3);
        Memory from = Memory.allocate(Device.CPU, bytes.length);
        Memory to = Memory.allocate(Device.CPU, bytes.length)) {
      from.view(0, bytes.length).put(bytes);
      stream.fill(to.address(), 0xa5, bytes.length);
      stream.copy(to.address() + 1, from.address() + 1, bytes.length - 2);
      stream.synchronize();
      byte[] got = new byte[bytes.length];
      to.view(0, got.length).get(got);
      byte[] expected = bytes.clone();
      expected[0] = (byte) 0xa5;
      expected[expected.length - 1] = (byte) 0xa5;
      assertArrayEquals(expected, got);
    }
  }

  @Test
  void whatWasClosedIsRefused() {
    Memory memory = Memory.allocate(Device.CPU, 64);
    memory.close();
    memory.close();
    assertThrows(IllegalStateException.class, memory::address);
    Stream stream = Stream.open(Device.CPU, 1);
    stream.close();
    stream.close();
    assertThrows(IllegalStateException.class, stream::synchronize);
    Event event = Event.open(Device.CPU);
    event.close();
    event.close();
    assertThrows(IllegalStateException.class, () -> event.millisecondsTo(event));
  }

  @Test
  void sizesAndRangesAreChecked() {
    assertThrows(KernelException.InvalidArgument.class, () -> Memory.allocate(Device.CPU, -1));
    assertThrows(
        KernelException.OutOfMemory.class, () -> Memory.allocate(Device.CPU, Long.MAX_VALUE));
    try (Memory memory = Memory.allocate(Device.CPU, 64)) {
      for (long[] range : new long[][] {{-1, 1}, {0, 65}, {64, 1}, {0, -1}, {Long.MAX_VALUE, 1}}) {
        assertThrows(
            KernelException.InvalidArgument.class, () -> memory.view(range[0], (int) range[1]));
      }
      assertEquals(0, memory.view(64, 0).remaining());
    }
    assertThrows(KernelException.InvalidArgument.class, () -> Memory.hostView(0, 4));
  }

  @Test
  void eventsTellTimeAndCaptureIsForCuda() {
    try (Stream stream = Stream.open(Device.CPU, 1);
        Event start = Event.open(Device.CPU);
        Event end = Event.open(Device.CPU)) {
      start.record(stream);
      assertThrows(KernelException.InvalidArgument.class, () -> start.millisecondsTo(end));
      stream.await(start);
      end.record(stream);
      assertTrue(start.millisecondsTo(end) >= 0);
      assertThrows(KernelException.Unsupported.class, stream::beginCapture);
      assertThrows(KernelException.Unsupported.class, stream::endCapture);
    }
  }
}
