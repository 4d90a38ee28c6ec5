package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.TensorType;
import java.util.Collection;
import java.util.function.Function;

/**
 * How the weights of a model are divided among its tensor-parallel ranks, or its experts among ranks that
 * see different tokens.
 *
 * @param axis TENSOR or EXPERT
 * @param ranks how many there are
 * @param split which way a weight is cut, by its name
 */
public record Division(Axis axis, int ranks, Function<String, Split> split) {
  /** One rank, which has everything. */
  public static final Division NONE = new Division(1, name -> Split.WHOLE);

  /** Among tensor-parallel ranks. */
  public Division(int ranks, Function<String, Split> split) {
    this(Axis.TENSOR, ranks, split);
  }

  /** Which way a weight is cut. */
  public enum Split {
    /** Not at all: every rank has it, and its whole gradient. */
    WHOLE,
    /**
     * Not at all, but every rank uses it on its own part of the activations: what ranks have of its
     * gradient are the terms of a sum.
     */
    SHARED,
    /** Into runs of rows: each rank makes some of the outputs, or knows some of the tokens. */
    ROWS,
    /** Into runs of columns: each rank reads some of the inputs. */
    COLUMNS;

    /** Whether a rank has a part only. */
    public boolean cuts() {
      return this == ROWS || this == COLUMNS;
    }

    private int axis() {
      return this == COLUMNS ? 1 : 0;
    }
  }

  /**
   * Whether a weight is divided among ranks that see different tokens: fewer of them have the same part.
   */
  public boolean experts(String name) {
    return axis == Axis.EXPERT && ranks > 1 && split.apply(name).cuts();
  }

  /** Checks that there are ranks. */
  public Division {
    if (ranks < 1) {
      throw new IllegalArgumentException("got " + ranks + " ranks, needs at least 1");
    }
  }

  /** The same, but for weights that have a row for each token: each rank knows some of the tokens. */
  public Division withVocabulary(Collection<String> names) {
    return new Division(
        axis, ranks, name -> names.contains(name) ? Split.ROWS : split.apply(name));
  }

  /**
   * What one rank has of a weight.
   *
   * @param whole type of the whole weight
   * @throws IllegalArgumentException if it cannot be cut into equal parts
   */
  public TensorType part(String name, TensorType whole) {
    Split how = split.apply(name);
    return how.cuts() ? part(name, whole, how.axis()) : whole;
  }

  /** The type of the whole weight, from that of a rank's part. */
  public TensorType whole(String name, TensorType part) {
    Split how = split.apply(name);
    if (!how.cuts()) {
      return part;
    }
    long[] shape = part.shape().clone();
    shape[how.axis()] *= ranks;
    return new TensorType(part.dtype(), shape);
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
