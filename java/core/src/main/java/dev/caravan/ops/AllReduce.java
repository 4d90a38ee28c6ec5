package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The sum of a tensor over all ranks of a group, in place. Input: x. Output: x's memory, on every rank
 * the same bits. Its gradient is another one: each rank's input reaches every rank's output.
 *
 * <p>A group of one rank has nothing to exchange; the kernels of larger ones are not built yet, and the
 * op says so when it is bound.
 *
 * @param ranks how many ranks the group has
 */
public record AllReduce(int ranks) implements Op {
  @Override
  public String name() {
    return "all_reduce";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.that(ranks >= 1, "got " + ranks + " ranks, needs at least 1");
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.share(node.in(0), ranks == 1 ? d : gradients.emit(this, d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    if (ranks != 1) {
      throw new IllegalStateException("all_reduce over " + ranks + " ranks is not built yet");
    }
    return List.of();
  }

  @Override
  public int inPlace(int output) {
    return 0;
  }
}
