package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The weights of all ranks' choices. Inputs: weights f32 [T, C], the slots i32 [N T, C] of an {@link
 * ExpertRange}, and the {@link Router}'s own offsets i32 [E + 1] and assignments i32 [T C]. Output: f32 [N T,
 * C]. Its gradient comes by the rows of the range, f32 [N T C], and goes on by those of the router, f32 [T
 * C], as each of the two sorted them.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 */
public record GatherRouting(Axis axis, int ranks) implements Op {
  @Override
  public String name() {
    return "gather_routing";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType all = AllGatherRows.times(ranks, in.get(0).type());
    Shapes.need("slots", in.get(1), all.shape());
    Shapes.need("offsets", in.get(2), Shapes.ANY);
    Shapes.need("assignments", in.get(3), in.get(0).type().elements());
    return List.of(all);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor byRow = gradients.of(node.out(0));
    Tensor all = gradients.emit(new ByChoice(), byRow, node.in(1)).get(0);
    Tensor own = gradients.emit(new ReduceScatterRows(axis, ranks), all).get(0);
    gradients.add(
        node.in(0), gradients.emit(new ByRow(), own, node.in(2), node.in(3)).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return AllGatherRows.launches(axis, ranks, node, memory);
  }

  @Override
  public long wireBytes(Node node) {
    return Collective.wireBytes(Kind.ALL_GATHER, ranks, node.out(0).type().byteSize());
  }

  /** A column of the memory of a tensor. */
  static TensorRef column(Addresses memory, Tensor tensor) {
    TensorRef ref = memory.ref(tensor);
    return TensorRef.of(ref.address(), ref.dtype(), tensor.type().elements(), 1);
  }

  /**
   * From rows to choices. Inputs: f32 with A elements by row, slots i32 [T, C]. Output: f32 [T, C], 0
   * without a row.
   */
  record ByChoice() implements Op {
    @Override
    public String name() {
      return "by_choice";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(TensorType.f32(in.get(1).dim(0), in.get(1).dim(1)));
    }

    /** A sum over one choice each. */
    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(
          memory.launch(
              Experts.combine(
                  column(memory, node.in(0)),
                  column(memory, node.in(1)),
                  null,
                  column(memory, node.out(0)))));
    }
  }

  /**
   * From choices to rows. Inputs: f32 [T, C], offsets i32 [E + 1], assignments i32 [A]. Output: f32 [A], 0
   * behind the last row.
   */
  record ByRow() implements Op {
    @Override
    public String name() {
      return "by_row";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(TensorType.f32(in.get(2).dim(0)));
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      TensorRef offsets = memory.ref(node.in(1));
      long last = node.in(1).dim(0) - 1;
      TensorRef count =
          TensorRef.of(offsets.address() + last * DType.I32.bytes(), DType.I32, 1);
      return List.of(
          memory.launch(
              dev.caravan.kernels.Gather.forward(
                  column(memory, node.in(0)),
                  memory.ref(node.in(2)),
                  count,
                  column(memory, node.out(0)),
                  0)));
    }
  }
}
