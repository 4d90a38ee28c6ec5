package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Experts;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Sorts the choices of all ranks of a group by expert, those of the rank's own experts alone: rank r has
 * those from r E / N on. Input: experts i32 [N T, C]. Outputs: offsets i32 [E / N + 1], assignments i32 [N T
 * C], slots i32 [N T, C], -1 where the expert is another rank's.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 * @param experts of the layer, E
 * @param capacity rows that an expert takes of a group of tokens; 0 for all that come
 * @param group tokens of one, a part of a rank's; 0 for all of a rank
 */
public record ExpertRange(Axis axis, int ranks, long experts, long capacity, long group)
    implements Op {
  @Override
  public String name() {
    return "expert_range";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("experts", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.that(
        experts % ranks == 0, "got " + experts + " experts for " + ranks + " ranks, needs a multiple");
    long rows = in.get(0).dim(0);
    long choices = in.get(0).dim(1);
    Shapes.that(rows % ranks == 0, "got " + rows + " rows of " + ranks + " ranks");
    Shapes.that(
        group == 0 || rows / ranks % group == 0,
        "got groups of " + group + " tokens, needs a part of a rank's " + rows / ranks);
    return List.of(
        TensorType.i32(experts / ranks + 1),
        TensorType.i32(rows * choices),
        TensorType.i32(rows, choices));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Experts.sort(
                memory.ref(node.in(0)),
                memory.ref(node.out(0)),
                memory.ref(node.out(1)),
                memory.ref(node.out(2)),
                capacity,
                group == 0 ? node.in(0).dim(0) / ranks : group,
                memory.rank(axis) * (experts / ranks),
                experts)));
  }
}
