package dev.caravan.ops;

import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/** {@code y = x + bias}, row by row. Inputs: x [R, D], bias [D]. Output: y [R, D]. */
public record Bias() implements Op {
  @Override
  public String name() {
    return "bias";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("x", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("bias", in.get(1), in.get(0).dim(1));
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    Tensor bias = node.in(1);
    gradients.set(bias, gradients.emit(new Backward(), d, gradients.owned(bias)).get(0));
    gradients.share(node.in(0), d);
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Elementwise.biasForward(
                memory.ref(node.in(0)), memory.ref(node.in(1)), memory.ref(node.out(0)))));
  }

  @Override
  public int mayReuse(int output) {
    return 0;
  }

  @Override
  public boolean cheap() {
    return true;
  }

  /** {@code d_bias += column sums of d_y}. Inputs: d_y [R, D], d_bias [D], added to in place. */
  public record Backward() implements Op {
    @Override
    public String name() {
      return "bias_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      Shapes.need("d_y", in.get(0), Shapes.ANY, Shapes.ANY);
      Shapes.need("d_bias", in.get(1), in.get(0).dim(1));
      return List.of(in.get(1).type());
    }

    @Override
    public int inPlace(int output) {
      return 1;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(memory.launch(call(node, memory)));
    }

    private static KernelCall call(Node node, Addresses memory) {
      return Elementwise.biasBackward(
          memory.ref(node.in(0)), memory.ref(node.in(1)));
    }
  }
}
