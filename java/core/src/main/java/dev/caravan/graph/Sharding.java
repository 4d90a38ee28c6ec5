package dev.caravan.graph;

/**
 * What data-parallel ranks divide among them instead of holding it whole. Each includes the ones before.
 * Source: Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section 5 (stages 1, 2 and 3).
 */
public enum Sharding {
  /** Nothing. */
  NONE,
  /** Moments, and the lower halves of split weights. */
  OPTIMIZER,
  /** Gradients: one block's at a time is whole, and is summed in every micro-batch. */
  GRADIENTS,
  /** Weights: gathered block by block, again in the backward part. */
  PARAMETERS;

  /** Whether each rank updates a part of the weights only. */
  public boolean updates() {
    return this != NONE;
  }

  /** Whether gradients are kept in parts. */
  public boolean gradients() {
    return compareTo(GRADIENTS) >= 0;
  }

  /** Whether weights are kept in parts. */
  public boolean weights() {
    return this == PARAMETERS;
  }
}
