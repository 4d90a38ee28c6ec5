package dev.caravan.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
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
  void thereIsOneProcessor() {
    Device second = new Device(Device.Kind.CPU, 1);
    assertThrows(KernelException.InvalidArgument.class, second::name);
  }
}
