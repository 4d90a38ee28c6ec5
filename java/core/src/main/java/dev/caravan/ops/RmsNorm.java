package dev.caravan.ops;

import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@code h = x (+ residual)}, {@code y = h / sqrt(mean(h^2) + eps) * weight} over the last axis, so
 * that [T, H, N] is normalised per head. Inputs: x [..., D], weight [D], and residual when fused.
 * Outputs: y, rstd f32 [rows], and h when fused. Source: Zhang and Sennrich 2019, arXiv 1910.07467.
 *
 * @param eps added to the mean square
 * @param fused also adds a residual and gives the sum
 */
public record RmsNorm(float eps, boolean fused) implements Op {
  @Override
  public String name() {
    return "rmsnorm";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.need("weight", in.get(1), x.dim(-1));
    TensorType rstd = TensorType.f32(x.rows());
    if (!fused) {
      return List.of(x, rstd);
    }
    Shapes.need("residual", in.get(2), x.shape());
    return List.of(x, rstd, x);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor x = node.in(0);
    Tensor weight = node.in(1);
    Tensor h = fused ? node.out(2) : x;
    Tensor d = gradients.of(node.out(0));
    Tensor arrived = fused ? gradients.of(h) : gradients.sum(x);
    if (d == null) {
      gradients.share(x, arrived);
      gradients.share(node.in(2), arrived);
      return;
    }
    Tensor sum = gradients.owned(weight);
    Backward op = new Backward(arrived != null);
    List<Tensor> made =
        arrived == null
            ? gradients.emit(op, d, h, weight, node.out(1), sum)
            : gradients.emit(op, d, h, weight, node.out(1), sum, arrived);
    gradients.set(weight, made.get(1));
    if (fused) {
      gradients.share(x, made.get(0));
      gradients.share(node.in(2), made.get(0));
    } else {
      gradients.set(x, made.get(0));
    }
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    TensorRef x = memory.rows(node.in(0));
    return List.of(
        memory.launch(
            dev.caravan.kernels.RmsNorm.forward(
                x,
                fused ? memory.rows(node.in(2)) : null,
                memory.ref(node.in(1)),
                memory.rows(node.out(0)),
                fused ? memory.rows(node.out(2)) : null,
                memory.ref(node.out(1)),
                eps,
                0)));
  }

  @Override
  public boolean cheap() {
    return true;
  }

  /**
   * Gradient. Inputs: d_y, h, weight, rstd, d_weight (added to in place), and the gradient that has
   * reached h otherwise. Outputs: d_h, d_weight.
   *
   * @param adds the last input is there and added to d_h
   */
  public record Backward(boolean adds) implements Op {
    @Override
    public String name() {
      return "rmsnorm_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(1).type(), in.get(4).type());
    }

    @Override
    public int inPlace(int output) {
      return output == 1 ? 4 : NO_ALIAS;
    }

    @Override
    public int mayReuse(int output) {
      return output == 0 && adds ? 5 : NO_ALIAS;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(memory.launch(call(node, memory)));
    }

    private KernelCall call(Node node, Addresses memory) {
      return dev.caravan.kernels.RmsNorm.backward(
          memory.rows(node.in(0)),
          memory.rows(node.in(1)),
          memory.ref(node.in(2)),
          memory.ref(node.in(3)),
          adds ? memory.rows(node.in(5)) : null,
          memory.rows(node.out(0)),
          memory.ref(node.in(4)),
          0);
    }
  }
}
