package dev.caravan.model;

/**
 * What a model costs, from its dimensions alone.
 *
 * @param config the model
 */
public record LlamaCost(DecoderConfig config) {
  /** Parameters, tied ones counted once. */
  public long parameters() {
    return config.specs().stream().mapToLong(WeightSpec::elements).sum();
  }

  /** Parameters that take part in one token: of the experts, those it chooses. */
  public long activeParameters() {
    return config.specs().stream().mapToLong(this::active).sum();
  }

  private long active(WeightSpec spec) {
    return spec.shape().size() == 3
        ? spec.elements()
            / spec.shape().get(0)
            * Math.min(spec.shape().get(0), config.experts().orElseThrow().choices())
        : spec.elements();
  }

  /**
   * Model FLOPs of one training token: 6 for each weight that takes part in a matrix product (2
   * forward, 4 backward; the output projection counts, looking up an embedding does not), and 12 for
   * each pair of a query and key element, over the keys that a token sees on average in a sequence of
   * this length. Recomputed work does not count. Source: Chowdhery et al. 2022, arXiv 2204.02311,
   * appendix B, with causal masking counted as what it saves.
   *
   * @param sequence tokens of a document
   */
  public double trainingFlopsPerToken(int sequence) {
    double attention = 0;
    for (int layer = 0; layer < config.layers(); layer++) {
      attention += 12.0 * config.qDim() * averageKeys(sequence, config.slidingWindow(layer));
    }
    return 6.0 * productWeights() + attention;
  }

  /**
   * The share of them in what chooses a token's experts and in the shared expert's gate, which
   * tensor-parallel ranks all compute.
   */
  public double routingFlopsPerToken() {
    return config
        .experts()
        .map(e -> 6.0 * e.layers() * config.dModel() * (e.experts() + (e.shared() > 0 ? 1 : 0)))
        .orElse(0.0);
  }

  /** Weights that multiply every token. */
  private long productWeights() {
    long weights = 0;
    for (WeightSpec spec : config.specs()) {
      boolean lookUp =
          (spec.name().equals(LlamaWeights.EMBEDDING) && !config.tied())
              || spec.name().contains(Glam.POSITIONS);
      if (spec.shape().size() >= 2 && !lookUp) {
        weights += active(spec);
      }
    }
    return weights;
  }

  /** Keys that a token sees, itself included, averaged over the tokens of a sequence. */
  static double averageKeys(int sequence, int window) {
    if (window == 0 || window >= sequence) {
      return (sequence + 1) / 2.0;
    }
    double rising = window * (window + 1) / 2.0;
    return (rising + (double) (sequence - window) * window) / sequence;
  }
}
