package dev.caravan.model;

import dev.caravan.nn.Layers;
import dev.caravan.nn.SparseExperts;
import dev.caravan.tensor.Tensor;

/**
 * What stands in for a feed-forward layer where a model is sparse, whatever its family.
 *
 * @param config the experts
 * @param dModel width of the residual stream
 */
record SparseLayer(ExpertsConfig config, int dModel, Layers nn, SparseExperts experts) {
  /** [T, D] to [T, D]. */
  Tensor output(Tensor x_TD, int layer) {
    Tensor y_TD =
        experts.layer(
            config.index(layer),
            x_TD,
            nn.parameter(config.router(layer), config.experts(), dModel),
            nn.parameter(config.first(layer), config.experts(), config.width(), dModel),
            nn.parameter(config.second(layer), config.experts(), dModel, config.ffn()));
    if (config.shared() == 0) {
      return y_TD;
    }
    return nn.add(
        y_TD,
        experts.shared(
            x_TD,
            nn.parameter(config.sharedGate(layer), 1, dModel),
            nn.parameter(config.sharedFirst(layer), 1, config.sharedWidth(), dModel),
            nn.parameter(config.sharedSecond(layer), 1, dModel, config.shared())));
  }
}
