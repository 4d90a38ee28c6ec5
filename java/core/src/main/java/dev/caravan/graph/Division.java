package dev.caravan.graph;

import dev.caravan.tensor.TensorType;
import java.util.Collection;
import java.util.function.Function;

/**
 * How the weights of a model are divided among its tensor-parallel ranks, or its experts among ranks that
 * see different tokens. A {@link Grid} has both.
 *
 * @param ranks how many there are
 * @param split which way a weight is cut, by its name
 */
public record Division(int ranks, Function<String, Split> split) {
  /** One rank, which has everything. */
  public static final Division NONE = new Division(1, name -> Split.WHOLE);

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
    /** Into runs of columns, of each expert's matrix too: each rank reads some of the inputs. */
    COLUMNS,
    /** Of each expert's matrix into runs of rows. */
    EXPERT_ROWS,
    /** Of each expert's matrix, gate above up, into runs of rows of the one and the same of the other. */
    EXPERT_PAIRS;

    /** Whether a rank has a part only. */
    public boolean cuts() {
      return this != WHOLE && this != SHARED;
    }

    private int axis(TensorType type) {
      return switch (this) {
        case WHOLE, SHARED, ROWS -> 0;
        case COLUMNS -> type.rank() - 1;
        case EXPERT_ROWS, EXPERT_PAIRS -> 1;
      };
    }
  }

  /** Whether a rank has a part of a weight only. */
  public boolean cuts(String name) {
    return ranks > 1 && split.apply(name).cuts();
  }

  /** Checks that there are ranks. */
  public Division {
    if (ranks < 1) {
      throw new IllegalArgumentException("got " + ranks + " ranks, needs at least 1");
    }
  }

  /** The same, but for weights of which each rank has some rows: of a vocabulary, or of a norm. */
  public Division withRows(Collection<String> names) {
    return new Division(ranks, name -> names.contains(name) ? Split.ROWS : split.apply(name));
  }

  /**
   * What one rank has of a weight.
   *
   * @param whole type of the whole weight
   * @throws IllegalArgumentException if it cannot be cut into equal parts
   */
  public TensorType part(String name, TensorType whole) {
    Split how = split.apply(name);
    if (how == Split.EXPERT_PAIRS && whole.dim(1) % (2L * ranks) != 0) {
      throw uneven(name, whole, "a multiple of twice as many", 1);
    }
    return how.cuts() ? part(name, whole, how.axis(whole)) : whole;
  }

  /** The type of the whole weight, from that of a rank's part. */
  public TensorType whole(String name, TensorType part) {
    Split how = split.apply(name);
    if (!how.cuts()) {
      return part;
    }
    long[] shape = part.shape().clone();
    shape[how.axis(part)] *= ranks;
    return new TensorType(part.dtype(), shape);
  }

  /** Which axis of a weight is cut. */
  public int axis(String name, TensorType type) {
    return split.apply(name).axis(type);
  }

  /**
   * Elements of a rank's part that lie behind one another in the whole weight. Those of the other ranks
   * follow, in their order, and then the next run of the first one.
   *
   * @param part of a weight that is cut
   */
  public long run(String name, TensorType part) {
    return switch (split.apply(name)) {
      case WHOLE, SHARED, ROWS -> part.elements();
      case COLUMNS -> part.dim(-1);
      case EXPERT_ROWS -> part.dim(1) * part.dim(2);
      case EXPERT_PAIRS -> part.dim(1) / 2 * part.dim(2);
    };
  }

  TensorType part(String name, TensorType whole, int axis) {
    long[] shape = whole.shape().clone();
    if (axis >= shape.length || shape[axis] % ranks != 0) {
      throw uneven(name, whole, "a multiple of them", axis);
    }
    shape[axis] /= ranks;
    return new TensorType(whole.dtype(), shape);
  }

  private IllegalArgumentException uneven(
      String name, TensorType whole, String needs, int axis) {
    return new IllegalArgumentException(
        "%s: got %s for %d ranks, needs %s in axis %d"
            .formatted(name, whole, ranks, needs, axis));
  }
}
