package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Part r of the rows of every rank goes to rank r, which has them in the order of the ranks. Input: x [N P,
 * ...]. Output: the same shape. Its gradient is the same exchange, which takes every row back. A block that
 * is computed again exchanges again, as what is kept would be several times its input.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 */
public record AllToAllRows(Axis axis, int ranks) implements Op {
  @Override
  public String name() {
    return "all_to_all_rows";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.that(ranks >= 2, "got " + ranks + " ranks, needs at least 2");
    Shapes.that(
        x.shape()[0] % ranks == 0, "got " + x + " for " + ranks + " ranks, needs equal rows");
    return List.of(x);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.add(node.in(0), gradients.emit(this, d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return launches(memory, memory.row(node.in(0)), memory.row(node.out(0)));
  }

  /** Exchanges the parts of two rows of elements. */
  List<Launch> launches(Addresses memory, TensorRef from, TensorRef to) {
    Collective exchange = new Collective(Kind.ALL_TO_ALL, axis, ranks, from, to, 0);
    return List.of(memory.begin(exchange, Join.ALL), memory.join(axis, Join.ALL));
  }

  @Override
  public long wireBytes(Node node) {
    return Collective.wireBytes(Kind.ALL_TO_ALL, ranks, node.out(0).type().byteSize());
  }
}
