package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;

/** Shape rules in one vocabulary: what was got and what is needed. */
final class Shapes {
  /** In an expected shape: any extent. */
  static final long ANY = -1;

  private Shapes() {}

  /** The tensor has this shape. */
  static void need(String name, Tensor tensor, long... shape) {
    TensorType type = tensor.type();
    boolean fits = type.rank() == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] == ANY || shape[i] == type.dim(i);
    }
    if (!fits) {
      throw new IllegalArgumentException(
          name + ": got " + type + ", needs " + Arrays.toString(shape).replace("-1", "any"));
    }
  }

  /** What the message says holds. */
  static void that(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }
}
