package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class TensorRefTest {
  private static final long ADDRESS = 4096;

  @Test
  void contiguousTensorsKnowTheirStridesAndBytes() {
    TensorRef ref = TensorRef.of(ADDRESS, DType.BF16, 2, 3, 5);
    assertArrayEquals(new long[] {15, 5, 1}, ref.stride());
    assertEquals(60, ref.bytes());
    assertEquals(30, ref.elements());
    assertEquals(ref, TensorRef.of(ADDRESS, DType.BF16, 2, 3, 5));
    assertNotEquals(ref, TensorRef.of(ADDRESS, DType.BF16, 2, 5, 3));
    assertEquals(0, TensorRef.of(ADDRESS, DType.F32, 0, 7).bytes());
  }

  @Test
  void aRangeBeyondItsBytesIsRefused() {
    long[] shape = {4, 8};
    long[] stride = {16, 1};
    // The last element is number 3 * 16 + 7, so 56 elements of 4 bytes are touched.
    assertEquals(224, new TensorRef(ADDRESS, 224, DType.F32, shape, stride).bytes());
    refused("needs 224 bytes, got 223", 223, shape, stride);
    refused("too large", Long.MAX_VALUE, new long[] {1L << 40, 1L << 40}, new long[] {1L << 40, 1});
  }

  @Test
  void oneBeyondItsBlockOfMemoryIsRefused() {
    try (Memory memory = Memory.allocate(Device.CPU, 256)) {
      assertEquals(memory.address() + 64, TensorRef.in(memory, 64, DType.F32, 48).address());
      assertThrows(
          KernelException.InvalidArgument.class, () -> TensorRef.in(memory, 64, DType.F32, 49));
      assertThrows(
          KernelException.InvalidArgument.class, () -> TensorRef.in(memory, 260, DType.F32, 0));
      assertThrows(
          KernelException.InvalidArgument.class, () -> TensorRef.in(memory, -4, DType.F32, 1));
    }
  }

  @Test
  void shapesAndStridesAreChecked() {
    refused("5 extents", 999, new long[] {1, 1, 1, 1, 1}, new long[] {1, 1, 1, 1, 1});
    refused("0 extents", 999, new long[0], new long[0]);
    refused("2 extents and 1 strides", 999, new long[] {2, 2}, new long[] {1});
    refused("extent -1", 999, new long[] {-1}, new long[] {1});
    refused("stride -2", 999, new long[] {2, 2}, new long[] {-2, 1});
    refused("last stride 2", 999, new long[] {2, 2}, new long[] {4, 2});
    assertThrows(KernelException.InvalidArgument.class, () -> TensorRef.of(0, DType.F32, 1));
    assertThrows(
        KernelException.InvalidArgument.class, () -> TensorRef.of(ADDRESS + 2, DType.F32, 1));
  }

  private static void refused(String part, long bytes, long[] shape, long[] stride) {
    KernelException error =
        assertThrows(
            KernelException.InvalidArgument.class,
            () -> new TensorRef(ADDRESS, bytes, DType.F32, shape, stride));
    assertTrue(error.getMessage().contains(part), error.getMessage());
  }
}
