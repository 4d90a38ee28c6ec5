package dev.caravan.graph;

import dev.caravan.tensor.TensorType;
import java.util.function.Function;

/**
 * How the weights of a model are divided among its tensor-parallel ranks.
 *
 * @param ranks how many there are
 * @param split which way a weight is cut, by its name
 */
public record Division(int ranks, Function<String, Split> split) {
  /** Which way a weight is cut. */
  public enum Split {
    /** Not at all: every rank has it. */
    WHOLE,
    /** Into runs of rows: each rank makes some of the outputs. */
    ROWS,
    /** Into runs of columns: each rank reads some of the inputs. */
    COLUMNS;

    /** The axis that is cut; -1 for none. */
    int axis() {
      return ordinal() - 1;
    }
  }

  /** Checks that there are ranks. */
  public Division {
    if (ranks < 1) {
      throw new IllegalArgumentException("got " + ranks + " ranks, needs at least 1");
    }
  }

  /**
   * What one rank has of a weight.
   *
   * @param whole type of the whole weight
   * @throws IllegalArgumentException if it cannot be cut into equal parts
   */
  public TensorType part(String name, TensorType whole) {
    int axis = split.apply(name).axis();
    return axis < 0 ? whole : part(name, whole, axis);
  }

  TensorType part(String name, TensorType whole, int axis) {
    long[] shape = whole.shape().clone();
    if (axis >= shape.length || shape[axis] % ranks != 0) {
      throw new IllegalArgumentException(
          "%s: got %s for %d ranks, needs a multiple of them in axis %d"
              .formatted(name, whole, ranks, axis));
    }
    shape[axis] /= ranks;
    return new TensorType(whole.dtype(), shape);
  }
}
