package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The rows of all ranks of a group, in the order of the ranks. Input: x [T, ...]. Output: [N T, ...]. Its
 * gradient is a {@link ReduceScatterRows}. It is N times as large as what it is made of, so a block that
 * is computed again gathers again.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 */
public record AllGatherRows(Axis axis, int ranks) implements Op {
  @Override
  public String name() {
    return "all_gather_rows";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    return List.of(times(ranks, in.get(0).type()));
  }

  /** The type with so many times the rows. */
  static TensorType times(int ranks, TensorType part) {
    Shapes.that(ranks >= 2, "got " + ranks + " ranks, needs at least 2");
    long[] shape = part.shape().clone();
    shape[0] *= ranks;
    return new TensorType(part.dtype(), shape);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.add(
        node.in(0), gradients.emit(new ReduceScatterRows(axis, ranks), d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return launches(axis, ranks, node, memory);
  }

  /** Gathers the first input to the first output. */
  static List<Launch> launches(Axis axis, int ranks, Node node, Addresses memory) {
    Collective gather =
        new Collective(
            Kind.ALL_GATHER, axis, ranks, moved(memory, node.in(0)), moved(memory, node.out(0)), 0);
    return List.of(memory.begin(gather, Join.ALL), memory.join(axis, Join.ALL));
  }

  /** Integers travel as floats of the same width: nothing is computed with them. */
  private static TensorRef moved(Addresses memory, Tensor tensor) {
    TensorRef row = memory.row(tensor);
    return row.dtype() == DType.I32
        ? TensorRef.of(row.address(), DType.F32, tensor.type().elements())
        : row;
  }

  @Override
  public long wireBytes(Node node) {
    return Collective.wireBytes(Kind.ALL_GATHER, ranks, node.out(0).type().byteSize());
  }
}
