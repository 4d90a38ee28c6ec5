package dev.caravan.model;

import java.util.List;

/**
 * One parameter of a model: its name in a Hugging Face file, its shape there, and how it starts
 * when the weights are random.
 *
 * @param name name in a Hugging Face file
 * @param shape row-major extents; a linear layer is [out, in]
 * @param init starting values
 */
public record WeightSpec(String name, List<Long> shape, Init init) {

  /** Starting values of a randomly initialised parameter. */
  public enum Init {
    /** Normal with mean 0 and the config's {@code initializer_range} as standard deviation. */
    NORMAL,
    /** All ones: the gains of norms. */
    ONES,
    /** All zeros: biases. */
    ZEROS
  }

  /** Copies the shape. */
  public WeightSpec {
    shape = List.copyOf(shape);
  }

  /** Number of elements. */
  public long elements() {
    long elements = 1;
    for (long extent : shape) {
      elements = Math.multiplyExact(elements, extent);
    }
    return elements;
  }
}
