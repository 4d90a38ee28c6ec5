package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.ops.Rope;
import dev.caravan.tensor.Tensor;

/**
 * The rotary embedding of one model: tables and the positions of the tokens at hand.
 *
 * @param graph where the nodes go
 * @param positions i32 [T]
 * @param cos f32 [P, n/2], one row for each position
 * @param sin f32 [P, n/2]
 */
public record Rotary(Graph graph, Tensor positions, Tensor cos, Tensor sin) {
  /** Name of the constant leaf that holds the cosines. */
  public static final String COS = "rope.cos";

  /** Name of the constant leaf that holds the sines. */
  public static final String SIN = "rope.sin";

  /** Turns every head of {@code x} [T, H, N] by its token's position. */
  public Tensor apply(Tensor x) {
    return graph.one(new Rope(false, false), x, positions, cos, sin);
  }
}
