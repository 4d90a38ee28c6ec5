package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;

/**
 * How the rows of an embedding, or of an output projection, lie on tensor-parallel ranks: each has as many
 * of them, in the order of the ranks.
 *
 * @param ranks how many there are
 * @param size rows of the whole, a multiple of the ranks; 0 where one rank has them all
 */
public record Vocabulary(int ranks, long size) {
  /** All on one rank. */
  public static final Vocabulary WHOLE = new Vocabulary(1, 0);

  /** Checks that the parts are equal. */
  public Vocabulary {
    if (ranks < 1 || size < 0 || size % ranks != 0) {
      throw new IllegalArgumentException(
          "vocabulary: got %d rows for %d ranks, needs a multiple of them".formatted(size, ranks));
    }
  }

  /** Whether a rank has a part only. */
  boolean cut() {
    return ranks > 1;
  }

  /** The part has as many rows as those of the other ranks. */
  void check(String name, Tensor part) {
    Shapes.that(
        !cut() || part.dim(0) == size / ranks,
        "%s: got %s as one of %d parts of %d rows, needs %d rows"
            .formatted(name, part.type(), ranks, size, size / ranks));
  }

  /** The rank's first row. */
  long first(Addresses memory) {
    return cut() ? memory.rank(Axis.TENSOR) * (size / ranks) : 0;
  }
}
