package dev.caravan.checkpoint;

import java.util.List;

/** Sizes of tensors, with overflow treated as an impossible size rather than wrapped. */
final class Shapes {
  private Shapes() {}

  /** Bytes of a tensor, or -1 where an extent is negative or the product passes 2^63 - 1. */
  static long bytes(List<Long> shape, StoredType type) {
    long bytes = type.bytes();
    boolean empty = false;
    for (long extent : shape) {
      if (extent < 0) {
        return -1;
      }
      empty |= extent == 0;
    }
    if (empty) {
      return 0;
    }
    for (long extent : shape) {
      if (bytes > Long.MAX_VALUE / extent) {
        return -1;
      }
      bytes *= extent;
    }
    return bytes;
  }
}
