package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class DeviceTest {
  @Test
  void theProcessorSaysItsNameAndItsMemory() {
    assertEquals(new Device.Probe(1, ""), Device.probe(Device.Kind.CPU));
    assertTrue(Device.CPU.name().matches("\\P{Cntrl}+ \\(x86-64-v[34]\\)"), Device.CPU.name());
    assertTrue(Device.CPU.memoryBytes() > 1L << 28);
    assertEquals("cpu", Device.CPU.toString());
  }

  @Test
  void cudaIsThereOrSaysWhyNot() {
    Device.Probe probe = Device.probe(Device.Kind.CUDA);
    if (probe.count() > 0) {
      assertEquals("", probe.reason());
      assertFalse(Device.cuda(0).name().isEmpty());
      return;
    }
    assertTrue(
        probe.reason().startsWith("built without CUDA")
            || probe.reason().contains("NVIDIA driver")
            || probe.reason().contains("NVIDIA GPU"),
        probe.reason());
    KernelException refused =
        assertThrows(KernelException.Unsupported.class, () -> Device.cuda(0).name());
    assertTrue(refused.getMessage().contains(probe.reason()), refused.getMessage());
    assertThrows(KernelException.Unsupported.class, () -> Memory.allocate(Device.cuda(0), 16));
    assertThrows(KernelException.Unsupported.class, () -> Stream.open(Device.cuda(0), 1));
    assertThrows(KernelException.Unsupported.class, () -> Event.open(Device.cuda(0)));
  }

  @Test
  void thereIsOneProcessor() {
    Device second = new Device(Device.Kind.CPU, 1);
    assertThrows(KernelException.InvalidArgument.class, second::name);
  }
}
