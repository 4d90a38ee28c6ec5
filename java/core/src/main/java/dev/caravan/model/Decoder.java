package dev.caravan.model;

import dev.caravan.tensor.Tensor;

/** A model function: what it adds to a graph between token ids and logits. */
public interface Decoder {
  /** Token ids [T] to what the output projection reads, [T, D]. */
  Tensor hidden(Tensor ids);

  /** The output projection [V, D]. */
  Tensor output();
}
