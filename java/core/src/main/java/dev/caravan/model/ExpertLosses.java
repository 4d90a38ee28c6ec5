package dev.caravan.model;

import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Balance;

/**
 * What training adds for sparse experts.
 *
 * @param definition of the load-balancing loss
 * @param weight of it
 * @param zWeight weight of the router's z loss
 * @param capacityFactor an expert takes at most this times its even share of a group's choices,
 *     those of lower rank and later tokens dropped first; 0 where none is dropped
 * @param groupSize tokens of a group, one behind the other in a buffer; 0 for all of a buffer
 * @param second which of a token's choices after the first are kept, before others compete for room
 */
public record ExpertLosses(
    Balance definition,
    double weight,
    double zWeight,
    double capacityFactor,
    int groupSize,
    Experts.Second second) {
  /** No losses, nothing dropped. */
  public static final ExpertLosses NONE = new ExpertLosses(Balance.NONE, 0, 0, 0, 0);

  /** Keeps every choice that finds room. */
  public ExpertLosses(
      Balance definition, double weight, double zWeight, double capacityFactor, int groupSize) {
    this(definition, weight, zWeight, capacityFactor, groupSize, Experts.Second.ALL);
  }

  /** Tokens of a buffer's groups; 0 where the buffer is one. */
  long group(long tokens) {
    return groupSize < tokens ? groupSize : 0;
  }

  /** Rows that an expert takes of a group; 0 where none is dropped. */
  long capacity(long tokens, ExpertsConfig experts) {
    if (capacityFactor == 0) {
      return 0;
    }
    long competing = group(tokens) == 0 ? tokens : groupSize;
    return (long) Math.ceil(capacityFactor * competing * experts.choices() / experts.experts());
  }
}
