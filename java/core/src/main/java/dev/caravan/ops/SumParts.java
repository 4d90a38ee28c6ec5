package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The sum of what each tensor-parallel rank has made with its part of a weight, in place, on every rank
 * the same bits. Input: x. Output: the sum. Backward, every rank has the sum's whole gradient, which is
 * that of each term: nothing is exchanged. Source: Shoeybi et al. 2019, arXiv 1909.08053, section 3 (its
 * operator g).
 *
 * @param ranks how many ranks there are
 */
public record SumParts(int ranks) implements Op {
  @Override
  public String name() {
    return "sum_parts";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.that(ranks >= 2, "got " + ranks + " ranks, needs at least 2");
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    gradients.share(node.in(0), gradients.of(node.out(0)));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    Collective sum = Collective.allReduce(Axis.TENSOR, ranks, memory.row(node.in(0)));
    return List.of(memory.begin(sum, Join.ALL), memory.join(Axis.TENSOR, Join.ALL));
  }

  @Override
  public int inPlace(int output) {
    return 0;
  }

  @Override
  public boolean exchanges() {
    return true;
  }

  @Override
  public long wireBytes(Node node) {
    return Collective.wireBytes(
        Collective.Kind.ALL_REDUCE, ranks, node.in(0).type().byteSize());
  }
}
