package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The sum over all ranks of a group, of which each rank gets its own rows. Input: x [N T, ...]. Output: [T,
 * ...], added in the order of the ranks. Its gradient is an {@link AllGatherRows}.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 */
public record ReduceScatterRows(Axis axis, int ranks) implements Op {
  @Override
  public String name() {
    return "reduce_scatter_rows";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    long[] shape = x.shape().clone();
    Shapes.that(
        ranks >= 2 && shape[0] % ranks == 0, "got " + x + " for " + ranks + " ranks, needs equal rows");
    shape[0] /= ranks;
    return List.of(new TensorType(x.dtype(), shape));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.add(node.in(0), gradients.emit(new AllGatherRows(axis, ranks), d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    Collective sum =
        new Collective(
            Kind.REDUCE_SCATTER, axis, ranks, memory.row(node.in(0)), memory.row(node.out(0)), 0);
    return List.of(memory.begin(sum, Join.ALL), memory.join(axis, Join.ALL));
  }

  @Override
  public boolean exchanges() {
    return true;
  }

  @Override
  public long wireBytes(Node node) {
    return Collective.wireBytes(Kind.REDUCE_SCATTER, ranks, node.in(0).type().byteSize());
  }
}
