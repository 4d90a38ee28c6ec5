package dev.caravan.model;

import dev.caravan.kernels.Experts.Balance;

/**
 * What training adds for sparse experts.
 *
 * @param definition of the load-balancing loss
 * @param weight of it
 * @param zWeight weight of the router's z loss
 * @param capacityFactor an expert takes at most this times its even share of a buffer's choices, those of
 *     lower rank and later tokens dropped first; 0 where none is dropped
 */
public record ExpertLosses(
    Balance definition, double weight, double zWeight, double capacityFactor) {
  /** No losses, nothing dropped. */
  public static final ExpertLosses NONE = new ExpertLosses(Balance.NONE, 0, 0, 0);

  /** Rows that an expert takes of a buffer; 0 where none is dropped. */
  long capacity(long tokens, ExpertsConfig experts) {
    return capacityFactor == 0
        ? 0
        : (long) Math.ceil(capacityFactor * tokens * experts.choices() / experts.experts());
  }
}
