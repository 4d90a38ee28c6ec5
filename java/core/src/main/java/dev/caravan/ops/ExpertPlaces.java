package dev.caravan.ops;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Which rows go to which of the ranks that share experts: each is sent as many places, its rows first and
 * empty ones behind them. Inputs, of a {@link Router}: experts i32 [T, C], offsets i32 [E + 1], assignments
 * i32 [T C] and slots i32 [T, C]. Outputs: of each place the assignment, the token and the expert, i32 [N P,
 * 1], -1 where it is empty; and of each assignment its place, i32 [T, C], -1 where it has none.
 *
 * @param ranks how many there are, N
 * @param each places of one of them, P; see {@link #places}
 */
public record ExpertPlaces(int ranks, long each) implements Op {
  @Override
  public String name() {
    return "expert_places";
  }

  /**
   * Places with which no row of a router's lacks one: a token goes to a rank once for each of its choices
   * or of the rank's experts, whichever are fewer; and where an expert takes so many rows of a group, a
   * rank takes no more of it than all its experts do.
   *
   * @param tokens of a rank
   * @param experts of all ranks
   * @param router by which they are chosen
   */
  public static long places(int ranks, long tokens, long experts, Router router) {
    long group = router.group() == 0 ? tokens : router.group();
    return tokens / group * most(ranks, group, experts, router)
        + most(ranks, tokens % group, experts, router);
  }

  /** Rows of a group of tokens that go to one rank at most. */
  private static long most(int ranks, long tokens, long experts, Router router) {
    long share = experts / ranks;
    long chosen = tokens * Math.min(router.choices(), share);
    return router.capacity() == 0
        ? chosen
        : Math.min(chosen, share * Math.min(tokens, router.capacity()));
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("experts", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("offsets", in.get(1), Shapes.ANY);
    Shapes.need("assignments", in.get(2), in.get(0).type().elements());
    Shapes.need("slots", in.get(3), in.get(0).type().shape());
    long experts = in.get(1).dim(0) - 1;
    Shapes.that(
        experts % ranks == 0, "got " + experts + " experts for " + ranks + " ranks, needs a multiple");
    TensorType placed = TensorType.i32(ranks * each, 1);
    return List.of(placed, placed, placed, in.get(0).type());
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Experts.places(
                memory.ref(node.in(0)),
                memory.ref(node.in(1)),
                memory.ref(node.in(2)),
                memory.ref(node.in(3)),
                byRank(memory, node.out(0)),
                byRank(memory, node.out(1)),
                byRank(memory, node.out(2)),
                memory.ref(node.out(3)))));
  }

  private TensorRef byRank(Addresses memory, Tensor tensor) {
    return TensorRef.of(memory.ref(tensor).address(), DType.I32, ranks, each);
  }
}
