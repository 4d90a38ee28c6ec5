package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.KernelCall;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@link RmsNorm} of rows that are divided among tensor-parallel ranks, each of which has as many columns
 * and the weight of its own. Inputs: x [..., D], weight [D], and squares f32 [rows], the sum of {@code x^2}
 * over the whole rows: {@link RowDot} of x with itself, added up over the ranks. Outputs: y [..., D], rstd
 * f32 [rows].
 *
 * <p>Its gradient is also that by way of the squares. It needs another sum over the whole rows, of the
 * gradient of y times weight times x, so that ranks exchange 4 bytes a row forward and as many backward.
 *
 * @param eps added to the mean square
 * @param ranks how many there are
 */
public record RmsNormPart(float eps, int ranks) implements Op {
  private static final int SQUARES = 2;

  @Override
  public String name() {
    return "rmsnorm_part";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.need("weight", in.get(1), x.dim(-1));
    Shapes.need("squares", in.get(SQUARES), x.rows());
    return List.of(x, TensorType.f32(x.rows()));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor x = node.in(0);
    Tensor weight = node.in(1);
    Tensor d = gradients.of(node.out(0));
    Tensor own = gradients.emit(new RowDot(), d, x, weight).get(0);
    Tensor dots = gradients.emit(new AllReduce(Axis.TENSOR, ranks, false), own).get(0);
    Tensor arrived = gradients.sum(x);
    Tensor sum = gradients.owned(weight);
    Backward op = new Backward(ranks, arrived != null);
    List<Tensor> made =
        arrived == null
            ? gradients.emit(op, d, x, weight, node.out(1), sum, dots)
            : gradients.emit(op, d, x, weight, node.out(1), sum, dots, arrived);
    gradients.set(x, made.get(0));
    gradients.set(weight, made.get(1));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            dev.caravan.kernels.RmsNorm.forwardOfPart(
                memory.rows(node.in(0)),
                memory.ref(node.in(1)),
                memory.ref(node.in(SQUARES)),
                ranks * node.in(0).dim(-1),
                memory.rows(node.out(0)),
                memory.ref(node.out(1)),
                eps,
                0)));
  }

  @Override
  public boolean cheap() {
    return true;
  }

  /**
   * Gradient. Inputs: d_y, x, weight, rstd, d_weight (added to in place), dots f32 [rows], the sum of
   * {@code d_y * weight * x} over the whole rows, and the gradient that has reached x otherwise. Outputs:
   * d_x, d_weight.
   *
   * @param ranks how many there are
   * @param adds the last input is there and added to d_x
   */
  public record Backward(int ranks, boolean adds) implements Op {
    private static final int D_WEIGHT = 4;
    private static final int DOTS = 5;
    private static final int ARRIVED = 6;

    @Override
    public String name() {
      return "rmsnorm_part_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      Shapes.need("dots", in.get(DOTS), in.get(1).type().rows());
      return List.of(in.get(1).type(), in.get(D_WEIGHT).type());
    }

    @Override
    public int inPlace(int output) {
      return output == 1 ? D_WEIGHT : NO_ALIAS;
    }

    @Override
    public int mayReuse(int output) {
      return output == 0 && adds ? ARRIVED : NO_ALIAS;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(memory.launch(call(node, memory)));
    }

    private KernelCall call(Node node, Addresses memory) {
      return dev.caravan.kernels.RmsNorm.backwardOfPart(
          memory.rows(node.in(0)),
          memory.rows(node.in(1)),
          memory.ref(node.in(2)),
          memory.ref(node.in(3)),
          memory.ref(node.in(DOTS)),
          ranks * node.in(1).dim(-1),
          adds ? memory.rows(node.in(ARRIVED)) : null,
          memory.rows(node.out(0)),
          memory.ref(node.in(D_WEIGHT)),
          0);
    }
  }
}
