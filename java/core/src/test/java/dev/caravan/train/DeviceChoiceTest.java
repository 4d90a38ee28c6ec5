package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceChoiceTest {
  @Test
  void theCpuIsTakenWhenItIsAskedFor() {
    DeviceChoice choice = DeviceChoice.of("cpu", 3);
    assertEquals(Device.CPU, choice.device());
    assertEquals(3, choice.threads());
    assertTrue(choice.line().startsWith("device: cpu ("), choice.line());
    assertTrue(choice.line().endsWith("GiB), 3 threads; as asked"), choice.line());
  }

  @Test
  void withoutAUsableGpuTheLineSaysWhy() {
    Assumptions.assumeTrue(Device.probe(Device.Kind.CUDA).count() == 0, "this machine has a GPU");
    DeviceChoice choice = DeviceChoice.of("", 1);
    assertEquals(Device.CPU, choice.device());
    assertTrue(choice.line().contains("1 thread; no CUDA because "), choice.line());
    for (String wish : new String[] {"cuda", "cuda:0"}) {
      UserError error = assertThrows(UserError.class, () -> DeviceChoice.of(wish, 1));
      assertTrue(error.getMessage().startsWith("--device " + wish + ": no CUDA because "));
    }
  }

  @Test
  void aGpuBeyondTheLastIsRefused() {
    assertThrows(UserError.class, () -> DeviceChoice.of("cuda:999", 1));
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"})
  void anythingElseIsRefused(String wish) {
    UserError error = assertThrows(UserError.class, () -> DeviceChoice.of(wish, 1));
    assertEquals("--device: got '" + wish + "', needs cpu, cuda or cuda:N", error.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"0, 4, 8, 0", "1, 4, 8, 4", "0, 8, 8, 0", "1, 4, 4, 0", "3, 2, 8, 6"})
  void processesOfANodeShareItsGpusInTheirOrder(int local, int ranks, int count, int first) {
    assertEquals(first, DeviceChoice.first(local, ranks, count));
  }
}
