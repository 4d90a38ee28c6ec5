package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.abi.Caravan;
import org.junit.jupiter.api.Test;

class NativeTest {
  @Test
  void libraryHasTheVersionOfTheBinding() {
    assertEquals(Caravan.CARAVAN_ABI_VERSION, Native.abiVersion());
  }

  @Test
  void anotherVersionIsRefusedWithBothNumbers() {
    Native.checkVersion(7, 7);
    UnsatisfiedLinkError error =
        assertThrows(UnsatisfiedLinkError.class, () -> Native.checkVersion(8, 7));
    assertTrue(error.getMessage().contains("ABI version 8"), error.getMessage());
    assertTrue(error.getMessage().contains("needs 7"), error.getMessage());
  }

  @Test
  void everyStatusHasItsException() {
    assertEquals(
        KernelException.InvalidArgument.class,
        KernelException.of(Caravan.CARAVAN_INVALID_ARGUMENT, "").getClass());
    assertEquals(
        KernelException.OutOfMemory.class,
        KernelException.of(Caravan.CARAVAN_OUT_OF_MEMORY, "").getClass());
    assertEquals(
        KernelException.Unsupported.class,
        KernelException.of(Caravan.CARAVAN_UNSUPPORTED, "").getClass());
    assertEquals(
        KernelException.DeviceLost.class,
        KernelException.of(Caravan.CARAVAN_DEVICE_LOST, "").getClass());
    assertEquals(
        KernelException.class, KernelException.of(Caravan.CARAVAN_INTERNAL, "").getClass());
  }
}
