package dev.caravan.ops;

import dev.caravan.kernels.Elementwise;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/** {@code out = a + b}; all of one type. Inputs: a, b. */
public record Add() implements Op {
  @Override
  public String name() {
    return "add";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.that(
        in.get(0).type().equals(in.get(1).type()),
        "got " + in.get(0).type() + " and " + in.get(1).type() + ", needs equal types");
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.share(node.in(0), d);
    gradients.share(node.in(1), d);
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Elementwise.add(
                memory.ref(node.in(0)), memory.ref(node.in(1)), memory.ref(node.out(0)))));
  }

  @Override
  public int mayReuse(int output) {
    return 0;
  }
}
