package dev.caravan.ops;

import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Activation;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The experts of one layer: {@code y[t] = sum over the token's choices of weight * W2 f(W1 x[t])}, only
 * the chosen ones computed. Inputs: x [T, D], w1 [E, N, D], w2 [E, D, F], and of the router weights f32
 * [T, C], offsets, assignments and slots. Outputs: y [T, D] and h [T C, N], which is all that the
 * backward needs besides.
 *
 * @param activation f; a gated one takes rows of N = 2 F, gate then up
 */
public record ExpertLayer(Activation activation) implements Op {
  @Override
  public String name() {
    return "experts";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("w1", in.get(1), Shapes.ANY, Shapes.ANY, Shapes.ANY);
    long experts = in.get(1).dim(0);
    long width = in.get(1).dim(1);
    long d = in.get(1).dim(2);
    Shapes.need("x", in.get(0), Shapes.ANY, d);
    Shapes.need("w2", in.get(2), experts, d, activation.gated() ? width / 2 : width);
    Shapes.need("weights", in.get(3), in.get(0).dim(0), Shapes.ANY);
    long rows = in.get(3).type().elements();
    Shapes.need("offsets", in.get(4), experts + 1);
    Shapes.need("assignments", in.get(5), rows);
    Shapes.need("slots", in.get(6), in.get(3).type().shape());
    TensorType x = in.get(0).type();
    return List.of(x, new TensorType(x.dtype(), rows, width));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor w1 = node.in(1);
    Tensor w2 = node.in(2);
    List<Tensor> made =
        gradients.emit(
            new Backward(activation),
            gradients.of(node.out(0)),
            node.in(0),
            w1,
            w2,
            node.in(3),
            node.in(4),
            node.in(5),
            node.in(6),
            node.out(1),
            gradients.owned(w1),
            gradients.owned(w2));
    gradients.add(node.in(0), made.get(0));
    gradients.add(node.in(3), made.get(1));
    gradients.set(w1, made.get(2));
    gradients.set(w2, made.get(3));
  }

  /** The activation's rows, and the rows before they are combined. */
  @Override
  public List<TensorType> scratch(Node node) {
    return rows(node.in(0), node.in(2), node.out(1));
  }

  private static List<TensorType> rows(Tensor x, Tensor w2, Tensor h) {
    return List.of(
        new TensorType(x.type().dtype(), h.dim(0), w2.dim(2)),
        new TensorType(x.type().dtype(), h.dim(0), x.dim(1)));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    int choices = (int) node.in(3).dim(1);
    TensorRef offsets = memory.ref(node.in(4));
    TensorRef act = memory.scratch(0);
    TensorRef out = memory.scratch(1);
    return List.of(
        memory.launch(
            Experts.product(
                memory.ref(node.in(0)),
                memory.ref(node.in(5)),
                choices,
                offsets,
                memory.ref(node.in(1)),
                false,
                memory.ref(node.out(1)),
                activation,
                act)),
        memory.launch(
            Experts.product(
                act, null, 1, offsets, memory.ref(node.in(2)), false, out, Activation.NONE, null)),
        memory.launch(
            Experts.combine(
                out,
                memory.ref(node.in(6)),
                memory.ref(node.in(3)),
                memory.ref(node.out(0)))));
  }

  @Override
  public long flops(Node node) {
    return flops(node.in(1), node.in(2), node.out(1).dim(0));
  }

  private static long flops(Tensor w1, Tensor w2, long rows) {
    return 2 * rows * (w1.dim(1) * w1.dim(2) + w2.dim(1) * w2.dim(2));
  }

  /**
   * Gradient. Inputs: d_y, x, w1, w2, weights, offsets, assignments, slots, h, d_w1 and d_w2 (added to
   * in place). Outputs: d_x, d_weights f32 [T C] by row, d_w1, d_w2, d_h.
   */
  public record Backward(Activation activation) implements Op {
    private static final int H = 8;

    @Override
    public String name() {
      return "experts_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(
          in.get(1).type(),
          TensorType.f32(in.get(H).dim(0)),
          in.get(9).type(),
          in.get(10).type(),
          in.get(H).type());
    }

    @Override
    public int inPlace(int output) {
      return output == 2 ? 9 : output == 3 ? 10 : NO_ALIAS;
    }

    @Override
    public int mayReuse(int output) {
      return output == 4 ? H : NO_ALIAS;
    }

    @Override
    public List<TensorType> scratch(Node node) {
      return rows(node.in(1), node.in(3), node.in(H));
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      int choices = (int) node.in(4).dim(1);
      TensorRef dY = memory.ref(node.in(0));
      TensorRef x = memory.ref(node.in(1));
      TensorRef offsets = memory.ref(node.in(5));
      TensorRef assignments = memory.ref(node.in(6));
      TensorRef dH = memory.ref(node.out(4));
      TensorRef act = memory.scratch(0);
      TensorRef dRows = memory.scratch(1);
      return List.of(
          memory.launch(
              Experts.productBackward(
                  dY,
                  assignments,
                  offsets,
                  memory.ref(node.in(3)),
                  memory.ref(node.in(4)),
                  memory.ref(node.in(H)),
                  dH,
                  act,
                  memory.ref(node.out(1)),
                  activation)),
          memory.launch(
              Experts.outer(
                  dY, true, act, false, assignments, choices, offsets, memory.ref(node.in(10)))),
          memory.launch(
              Experts.product(
                  dH,
                  null,
                  1,
                  offsets,
                  memory.ref(node.in(2)),
                  true,
                  dRows,
                  Activation.NONE,
                  null)),
          memory.launch(
              Experts.combine(dRows, memory.ref(node.in(7)), null, memory.ref(node.out(0)))),
          memory.launch(
              Experts.outer(
                  dH, false, x, true, assignments, choices, offsets, memory.ref(node.in(9)))));
    }

    @Override
    public long flops(Node node) {
      return 2 * ExpertLayer.flops(node.in(2), node.in(3), node.in(H).dim(0));
    }
  }
}
