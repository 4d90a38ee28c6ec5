package dev.caravan.parallel;

/**
 * How ranks are arranged: rank = data rank x tensor + tensor rank, so that tensor ranks, which exchange
 * most, are neighbours.
 *
 * @param data ranks that see different examples
 * @param tensor ranks that share each matrix
 */
public record Mesh(int data, int tensor) {
  /** One rank. */
  public static final Mesh ONE = new Mesh(1, 1);

  /** Checks that there are ranks. */
  public Mesh {
    if (data < 1 || tensor < 1) {
      throw new IllegalArgumentException("got " + data + " x " + tensor + " ranks");
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
}
