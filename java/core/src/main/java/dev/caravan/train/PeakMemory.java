package dev.caravan.train;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory the process has used at most. */
final class PeakMemory {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final String HIGH_WATER = "VmHWM:";

  private PeakMemory() {}

  /** Largest resident size of the process so far, in bytes; 0 where the system does not tell. */
  static long hostBytes() {
    try {
      for (String line : Files.readAllLines(STATUS, StandardCharsets.US_ASCII)) {
        if (line.startsWith(HIGH_WATER)) {
          String kib = line.substring(HIGH_WATER.length()).replace("kB", "").trim();
          return Long.parseLong(kib) * 1024;
        }
      }
    } catch (IOException | NumberFormatException e) {
      return 0;
    }
    return 0;
  }

  /**
   * Bytes that Caravan holds on its devices of a kind, for the CPU in native memory; the plan is static,
   * so this is also the peak.
   */
  static long deviceBytes(Device.Kind kind) {
    return kind == Device.Kind.CPU ? Memory.stats().liveBytes() : Memory.heldBytes(kind);
  }
}
