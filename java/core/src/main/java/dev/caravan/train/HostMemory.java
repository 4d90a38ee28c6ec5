package dev.caravan.train;

import dev.caravan.kernels.Device;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory a run may plan with. */
final class HostMemory {
  private static final Path MEMINFO = Path.of("/proc/meminfo");
  private static final String AVAILABLE = "MemAvailable:";

  private HostMemory() {}

  /**
   * Bytes that a device has for a run: on the CPU what the system calls available, or less where a
   * container is given less; on a GPU all of its memory.
   */
  static long available(Device device) {
    long all = device.memoryBytes();
    return device.kind() == Device.Kind.CPU ? Math.min(all, systemAvailable()) : all;
  }

  private static long systemAvailable() {
    try {
      for (String line : Files.readAllLines(MEMINFO, StandardCharsets.US_ASCII)) {
        if (line.startsWith(AVAILABLE)) {
          return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
        }
      }
    } catch (IOException | NumberFormatException e) {
      return Long.MAX_VALUE;
    }
    return Long.MAX_VALUE;
  }
}
