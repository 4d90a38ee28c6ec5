package dev.caravan.graph;

import dev.caravan.tensor.TensorType;

/**
 * How the weights of a model are divided among a grid of ranks: each matrix among tensor-parallel
 * ones, which see the same tokens, and the experts among some that see different ones. The weights
 * of experts may be divided both ways: a rank then has some of the width of some experts.
 *
 * @param tensor which way each weight is cut among tensor-parallel ranks
 * @param experts which weights are experts, cut into rows, each a matrix
 */
public record Grid(Division tensor, Division experts) {
  /** One rank, which has everything. */
  public static final Grid NONE = new Grid(Division.NONE, Division.NONE);

  /** How many ranks have all weights together. */
  public int ranks() {
    return tensor.ranks() * experts.ranks();
  }

  /** Whether a rank has a part of a weight only. */
  public boolean cuts(String name) {
    return tensor.cuts(name) || experts.cuts(name);
  }

  /** The type of the whole weight, from that of a rank's part. */
  public TensorType whole(String name, TensorType part) {
    return tensor.whole(name, experts.whole(name, part));
  }
}
