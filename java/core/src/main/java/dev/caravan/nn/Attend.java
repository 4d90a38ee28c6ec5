package dev.caravan.nn;

import dev.caravan.tensor.Tensor;

/**
 * How one layer's queries meet keys and values: those of the same packed buffer (training, scoring), or
 * those of a cache (generation). The block of a model is the same for both.
 */
public interface Attend {
  /**
   * Causal attention.
   *
   * @param layer index of the block, which has its own cache
   * @param q [T, H, N]
   * @param k [T, K, N]
   * @param v [T, K, M]
   * @param window how many tokens a query sees, itself included; 0 = all
   * @return [T, H, M]
   */
  Tensor attend(int layer, Tensor q, Tensor k, Tensor v, int window);

  /**
   * Causal attention over everything before a query, with a learned score for each distance and head in
   * place of the scale.
   *
   * @param positions table of relative positions, [buckets, H]
   * @param maxDistance from which on all keys share the last bucket, in tokens
   * @return [T, H, M]
   */
  Tensor attend(int layer, Tensor q, Tensor k, Tensor v, Tensor positions, int maxDistance);
}
