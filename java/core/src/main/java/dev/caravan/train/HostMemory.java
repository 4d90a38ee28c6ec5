package dev.caravan.train;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory a run may plan with. */
final class HostMemory {
  private static final Path MEMINFO = Path.of("/proc/meminfo");

  /** For loaded kernels, recorded graphs and the vendor's libraries, whose memory is not ours to plan. */
  private static final long DRIVER_BYTES = 512L << 20;

  private static final String AVAILABLE = "MemAvailable:";

  private HostMemory() {}

  /**
   * Bytes that a device has for a run: on the CPU what the system calls available, or less where a
   * container is given less; on a GPU what nobody holds, less some for the driver's own work.
   */
  static long available(Device device) {
    if (device.kind() == Device.Kind.CPU) {
      return Math.min(device.memoryBytes(), systemAvailable());
    }
    long free = Memory.room(device).freeBytes();
    return free - Math.min(DRIVER_BYTES, free / 16);
  }

  /** What of a GPU's memory is free, in words: others may hold the rest. */
  static String room(Device device) {
    Memory.Room room = Memory.room(device);
    if (room.freeBytes() == room.totalBytes()) {
      return device + " has " + RunPlan.size(room.totalBytes()) + ", all free";
    }
    return "%s has %s, of which %s are free and the rest is held by other processes or the driver"
        .formatted(device, RunPlan.size(room.totalBytes()), RunPlan.size(room.freeBytes()));
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
