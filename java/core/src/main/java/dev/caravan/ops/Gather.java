package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@code out[i] = x[rows[i]]} for i below count, else 0. Inputs: x [T, D], rows i32 [R], count i32 [1].
 * Output: out [R, D]. For inference: the output projection of a training step gathers by itself.
 */
public record Gather() implements Op {
  @Override
  public String name() {
    return "gather";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("x", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("rows", in.get(1), Shapes.ANY);
    Shapes.need("count", in.get(2), 1);
    return List.of(new TensorType(in.get(0).type().dtype(), in.get(1).dim(0), in.get(0).dim(1)));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            dev.caravan.kernels.Gather.forward(
                memory.ref(node.in(0)),
                memory.ref(node.in(1)),
                memory.ref(node.in(2)),
                memory.ref(node.out(0)),
                0)));
  }
}
