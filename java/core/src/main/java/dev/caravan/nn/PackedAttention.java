package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.kernels.Attention.Options;
import dev.caravan.ops.Attention;
import dev.caravan.tensor.Tensor;

/**
 * Causal attention inside each document of a packed buffer.
 *
 * @param graph where the nodes go
 * @param documents where documents begin, i32 [S + 1]
 */
public record PackedAttention(Graph graph, Tensor documents) implements Attend {
  @Override
  public Tensor attend(int layer, Tensor q, Tensor k, Tensor v, int window) {
    return graph
        .emit(new Attention(causal(q.dim(2), window), false), q, k, v, documents, documents)
        .get(0);
  }

  @Override
  public Tensor attend(
      int layer, Tensor q, Tensor k, Tensor v, Tensor positions, int maxDistance) {
    Attention op = new Attention(relative(maxDistance), true);
    return graph.emit(op, q, k, v, documents, documents, positions).get(0);
  }

  /** Settings of causal attention with relative positions and no scale. */
  static Options relative(int maxDistance) {
    return new Options(1, 0, true, -1, -1, false, maxDistance);
  }

  /** Settings of causal attention with scale 1 / sqrt(N). */
  static Options causal(long headDim, int window) {
    return Options.causal((float) (1 / Math.sqrt(headDim))).window(window == 0 ? -1 : window - 1);
  }
}
