package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Activation;
import dev.caravan.ops.Balance;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.Router;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * The sparse layers of one model. In training they share what the balance losses are made of, kept
 * between launches.
 *
 * @param graph where the nodes go
 * @param rows how many leading token rows are in use, i32 [1]
 * @param layers how many sparse layers there are
 * @param experts of each
 * @param choices experts of a token
 * @param renormalise the weights of the chosen are divided by their sum
 * @param activation of an expert
 * @param training whether losses are made
 * @param capacity rows that an expert takes of a group of tokens; 0 for all that come
 * @param group tokens of one; 0 for all tokens
 * @param second which of a token's choices after the first are kept
 */
public record SparseExperts(
    Graph graph,
    Tensor rows,
    int layers,
    long experts,
    int choices,
    boolean renormalise,
    Activation activation,
    boolean training,
    long capacity,
    long group,
    Experts.Second second) {
  /** Name of the leaf with each layer's balance and z losses, drops and loads, summed over a step. */
  public static final String TOTALS = "experts.totals";

  /**
   * One layer: {@code x} [T, D] to [T, D].
   *
   * @param layer which of the sparse layers it is
   * @param router [E, D]; its product is float32
   * @param w1 [E, N, D]
   * @param w2 [E, D, F]
   */
  public Tensor layer(int layer, Tensor x, Tensor router, Tensor w1, Tensor w2) {
    Tensor logits = graph.one(MatMul.linear(true, DType.F32), x, router, rows);
    Router op =
        new Router(
            choices, Experts.Scoring.SOFTMAX, renormalise, layer, capacity, group, second);
    List<Tensor> inputs = new ArrayList<>(List.of(logits, rows));
    if (training) {
      inputs.addAll(List.of(stats(), factors(), offsets()));
    }
    if (second.draws()) {
      inputs.add(graph.leaf(Inputs.STATE, TensorType.bytes(Inputs.STATE_BYTES), Role.STATE));
    }
    return experts(x, w1, w2, graph.emit(op, inputs.toArray(Tensor[]::new)));
  }

  /**
   * An expert that every token goes through: {@code sigmoid(x gate^T) W2 f(W1 x)}. It is a sparse layer
   * of one expert, so nothing is chosen.
   *
   * @param gate [1, D]
   * @param w1 [1, N, D]
   * @param w2 [1, D, F]
   */
  public Tensor shared(Tensor x, Tensor gate, Tensor w1, Tensor w2) {
    Tensor logits = graph.one(MatMul.linear(true, DType.F32), x, gate, rows);
    Router all = new Router(1, Experts.Scoring.SIGMOID, false, 0, 0, 0);
    List<Tensor> routed = graph.emit(all, logits, rows);
    return experts(x, w1, w2, routed);
  }

  private Tensor experts(Tensor x, Tensor w1, Tensor w2, List<Tensor> routed) {
    return graph
        .emit(
            new ExpertLayer(activation),
            x,
            w1,
            w2,
            routed.get(0),
            routed.get(2),
            routed.get(3),
            routed.get(4))
        .get(0);
  }

  /** Adds the losses, behind the last sparse layer. */
  public void losses(Experts.Balance definition, double weight, double zWeight, Tensor state) {
    graph.emit(
        new Balance(definition, weight, zWeight, choices),
        stats(),
        factors(),
        offsets(),
        graph.leaf(TOTALS, totalsType(layers, experts), Role.STATE),
        state);
  }

  /** Type of the {@link #TOTALS}: bytes of f64 [L, E + 3]. */
  public static TensorType totalsType(int layers, long experts) {
    return TensorType.bytes(Balance.totalBytes(layers, experts));
  }

  private Tensor stats() {
    return graph.leaf(
        "experts.stats", TensorType.f32(layers, Experts.stats(experts)), Role.STATE);
  }

  private Tensor factors() {
    return graph.leaf("experts.factors", TensorType.f32(layers, experts + 1), Role.STATE);
  }

  private Tensor offsets() {
    return graph.leaf("experts.offsets", TensorType.i32(layers, experts + 1), Role.STATE);
  }
}
