package dev.caravan.ops;

import dev.caravan.kernels.Experts;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@code out[t] = sum over c of x[slots[t][c]]}, in this order, slots of -1 left out. Inputs: x [S, D], slots
 * i32 [T, C], and what goes the other way, i32 [S, B]: for each row of x the rows of out that it is part of,
 * else -1. Output: [T, D]. Its gradient is the same with slots and what goes the other way exchanged.
 */
public record SumRows() implements Op {
  @Override
  public String name() {
    return "sum_rows";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.need("x", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("slots", in.get(1), Shapes.ANY, Shapes.ANY);
    Shapes.need("back", in.get(2), in.get(0).dim(0), Shapes.ANY);
    return List.of(new TensorType(x.dtype(), in.get(1).dim(0), in.get(0).dim(1)));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.add(node.in(0), gradients.emit(this, d, node.in(2), node.in(1)).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Experts.combine(
                memory.ref(node.in(0)),
                memory.ref(node.in(1)),
                null,
                memory.ref(node.out(0)))));
  }
}
