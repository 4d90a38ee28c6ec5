package dev.caravan.parallel;

import dev.caravan.kernels.Collective.Axis;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;

/**
 * How ranks are arranged: rank = data rank x tensor + tensor rank, so that tensor ranks, which exchange
 * most, are neighbours. Data rank = replica x expert + expert rank: ranks that together hold all experts
 * are the next best neighbours.
 *
 * @param data ranks that see different examples
 * @param tensor ranks that share each matrix
 * @param expert ranks among those of data that share the experts; divides data
 */
public record Mesh(int data, int tensor, int expert) {
  /** One rank. */
  public static final Mesh ONE = new Mesh(1, 1);

  /** Ranks that each have all experts. */
  public Mesh(int data, int tensor) {
    this(data, tensor, 1);
  }

  /** Checks that there are ranks. */
  public Mesh {
    if (data < 1 || tensor < 1 || expert < 1) {
      throw new IllegalArgumentException(
          "got " + data + " x " + tensor + " ranks, " + expert + " for the experts");
    }
    if (data % expert != 0) {
      throw new IllegalArgumentException(
          "got " + expert + " ranks for the experts, needs a divisor of " + data);
    }
  }

  /** All ranks. */
  public int size() {
    return Math.multiplyExact(data, tensor);
  }

  /** The place of a rank among those that see different examples. */
  public int dataRank(int rank) {
    return rank / tensor;
  }

  /** The place of a rank among those that share each matrix. */
  public int tensorRank(int rank) {
    return rank % tensor;
  }

  /** The place of a rank among those that share the experts. */
  public int expertRank(int rank) {
    return dataRank(rank) % expert;
  }

  /** The place of a rank among those that hold the same experts. */
  public int replica(int rank) {
    return dataRank(rank) / expert;
  }

  /** The ranks of a rank's group on an axis, ascending, which is their order in it. */
  public List<Integer> group(Axis axis, int rank) {
    return switch (axis) {
      case WORLD -> ranks(other -> 0, rank);
      case DATA -> ranks(this::tensorRank, rank);
      case TENSOR -> ranks(this::dataRank, rank);
      case EXPERT -> ranks(other -> replica(other) * tensor + tensorRank(other), rank);
      case REPLICA -> ranks(other -> expertRank(other) * tensor + tensorRank(other), rank);
    };
  }

  /** Those of which the same is said as of this one. */
  private List<Integer> ranks(IntUnaryOperator of, int rank) {
    return IntStream.range(0, size())
        .filter(other -> of.applyAsInt(other) == of.applyAsInt(rank))
        .boxed()
        .toList();
  }
}
