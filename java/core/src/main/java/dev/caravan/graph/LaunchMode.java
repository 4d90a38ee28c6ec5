package dev.caravan.graph;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import java.util.Locale;

/** How work reaches a device that can record: for finding faults and for profilers. */
public enum LaunchMode {
  /** Recorded once, then replayed as one; what cannot be recorded is launched plainly. */
  REPLAY,
  /** Kernel by kernel. */
  PLAIN,
  /** Kernel by kernel, each in a range of a profiler's timeline that is named after its node. */
  RANGES,
  /** Kernel by kernel, waiting after each node, so that a fault of the device names its node. */
  WAIT;

  /** The system property that chooses, one of the names here in small letters. */
  public static final String PROPERTY = "caravan.launches";

  /**
   * What the property says; without it REPLAY, which a CPU does not need.
   *
   * @throws UserError if it names no mode
   */
  static LaunchMode of(Device device) {
    String name = System.getProperty(PROPERTY, REPLAY.name()).toUpperCase(Locale.ROOT);
    LaunchMode mode;
    try {
      mode = valueOf(name);
    } catch (IllegalArgumentException e) {
      throw new UserError(
          PROPERTY + ": got " + name.toLowerCase(Locale.ROOT) + ", needs replay, plain, ranges or wait",
          e);
    }
    return device.kind() == Device.Kind.CPU && mode == REPLAY ? PLAIN : mode;
  }
}
