package dev.caravan.ops;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * Chooses the experts of every token and sorts the choices by expert. Inputs: logits f32 [T, E], rows
 * i32 [1], and in training the layers' statistics f32 [L, 3 E + 2], whose row it writes, the factors f32
 * [L, E + 1] that {@link Balance} makes of them, and the layers' offsets i32 [L, E + 1], likewise; behind
 * them the step state, where second choices are drawn.
 * Outputs: weights f32 [T, C], experts i32 [T, C], offsets i32 [E + 1], assignments i32 [T C], slots i32
 * [T, C]. What reaches the weights as a gradient is f32 [T C], by row as {@link ExpertLayer} gives it.
 *
 * @param choices experts of a token, C
 * @param scoring how logits become weights
 * @param renormalise the chosen weights are divided by their sum
 * @param layer which row of the statistics is its own
 * @param capacity rows that an expert takes of a group of tokens; 0 for all that come
 * @param group tokens that compete for them, one group behind the other; 0 for all tokens
 * @param second which choices after a token's first are kept; the others count as dropped
 */
public record Router(
    int choices,
    Experts.Scoring scoring,
    boolean renormalise,
    int layer,
    long capacity,
    long group,
    Experts.Second second)
    implements Op {
  private static final int STATS = 2;
  private static final int FACTORS = 3;
  private static final int OFFSETS = 4;
  private static final int STATE = 5;

  /** Keeps every choice that finds room. */
  public Router(
      int choices,
      Experts.Scoring scoring,
      boolean renormalise,
      int layer,
      long capacity,
      long group) {
    this(choices, scoring, renormalise, layer, capacity, group, Experts.Second.ALL);
  }

  @Override
  public String name() {
    return "router";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("logits", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("rows", in.get(1), 1);
    long tokens = in.get(0).dim(0);
    long experts = in.get(0).dim(1);
    Shapes.that(
        choices >= 1 && choices <= experts,
        "got " + choices + " choices of " + experts + " experts");
    if (in.size() > STATS) {
      Shapes.need("stats", in.get(STATS), Shapes.ANY, Experts.stats(experts));
      Shapes.need("factors", in.get(FACTORS), in.get(STATS).dim(0), experts + 1);
      Shapes.need("offsets", in.get(OFFSETS), in.get(STATS).dim(0), experts + 1);
    }
    Shapes.that(
        !second.draws() || in.size() > STATE, "needs the step state to draw second choices by");
    return List.of(
        TensorType.f32(tokens, choices),
        TensorType.i32(tokens, choices),
        TensorType.i32(experts + 1),
        TensorType.i32(tokens * choices),
        TensorType.i32(tokens, choices));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    List<Tensor> inputs = new ArrayList<>();
    inputs.add(node.in(0));
    inputs.add(node.in(1));
    inputs.add(node.out(0));
    inputs.add(node.out(1));
    inputs.add(node.out(4));
    inputs.add(gradients.of(node.out(0)));
    if (node.inputs().size() > STATS) {
      inputs.add(node.in(FACTORS));
    }
    gradients.add(
        node.in(0), gradients.emit(new Backward(this), inputs.toArray(Tensor[]::new)).get(0));
  }

  @Override
  public List<TensorType> scratch(Node node) {
    return node.inputs().size() > STATS
        ? List.of()
        : List.of(TensorType.f32(Experts.stats(node.in(0).dim(1))));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    boolean training = node.inputs().size() > STATS;
    TensorRef offsets = memory.ref(node.out(2));
    List<Launch> launches = new ArrayList<>();
    launches.add(
        memory.launch(
            Experts.router(
                memory.ref(node.in(0)),
                memory.ref(node.in(1)),
                memory.ref(node.out(0)),
                memory.ref(node.out(1)),
                training ? row(memory.ref(node.in(STATS)), layer) : memory.scratch(0),
                scoring,
                renormalise)));
    launches.add(
        memory.launch(
            Experts.sort(
                memory.ref(node.out(1)),
                offsets,
                memory.ref(node.out(3)),
                memory.ref(node.out(4)),
                capacity,
                group,
                second,
                second.chooses() ? memory.ref(node.out(0)) : null,
                layer,
                second.draws() ? memory.ref(node.in(STATE)) : null)));
    if (training) {
      TensorRef kept = row(memory.ref(node.in(OFFSETS)), layer);
      launches.add(stream -> stream.copy(kept.address(), offsets.address(), offsets.bytes()));
    }
    return launches;
  }

  /** One row of a matrix. */
  private static TensorRef row(TensorRef matrix, int row) {
    long width = matrix.shape()[1];
    DType dtype = matrix.dtype();
    return TensorRef.of(matrix.address() + row * width * dtype.bytes(), dtype, width);
  }

  /**
   * Gradient. Inputs: logits, rows, weights, experts, slots, d_weights by row, and in training factors.
   * Output: d_logits.
   */
  public record Backward(Router of) implements Op {
    @Override
    public String name() {
      return "router_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(0).type());
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      boolean losses = node.inputs().size() > 6;
      return List.of(
          memory.launch(
              Experts.routerBackward(
                  memory.ref(node.in(0)),
                  memory.ref(node.in(1)),
                  memory.ref(node.in(2)),
                  memory.ref(node.in(3)),
                  memory.ref(node.in(5)),
                  memory.ref(node.in(4)),
                  losses ? row(memory.ref(node.in(6)), of.layer) : null,
                  memory.ref(node.out(0)),
                  of.scoring,
                  of.renormalise)));
    }
  }
}
