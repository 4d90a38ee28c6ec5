package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;

/**
 * Named ranges on a profiler's timeline (NVTX). Off unless asked for, because a name is an object a
 * call.
 */
public final class Ranges {
  private Ranges() {}

  /** Opens a range of this thread. */
  public static void push(Device.Kind kind, String name) {
    Native.check(Caravan.caravan_range_push(kind.code(), name));
  }

  /** Closes the range that was opened last. */
  public static void pop(Device.Kind kind) {
    Native.check(Caravan.caravan_range_pop(kind.code()));
  }
}
