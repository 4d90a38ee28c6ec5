package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * What all tensor-parallel ranks hold alike, about to be read by each with its own part of a weight.
 * Input: x. Output: x itself. Backward, each rank has the gradient by way of its own part, and their
 * sum is the whole one. Source: Shoeybi et al. 2019, arXiv 1909.08053, section 3 (its operator f).
 *
 * @param ranks how many ranks there are
 */
public record ToParts(int ranks) implements Op {
  @Override
  public String name() {
    return "to_parts";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.that(ranks >= 2, "got " + ranks + " ranks, needs at least 2");
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.add(
        node.in(0), gradients.emit(new AllReduce(Axis.TENSOR, ranks, false), d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of();
  }

  @Override
  public int viewOf(int output) {
    return 0;
  }

  @Override
  public boolean cheap() {
    return true;
  }
}
