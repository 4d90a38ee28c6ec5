package dev.caravan.train;

import dev.caravan.checkpoint.PieceName;
import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Grid;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.optim.Adafactor;
import dev.caravan.tensor.TensorType;

/**
 * What a rank has of each weight, as files name it: all, or a part.
 *
 * @param grid which weights are parts
 * @param tensor the rank's place among those that share each matrix
 * @param expert among those that share the experts
 * @param apart whether ranks that see different tokens keep different parts of what they have alike
 */
record OwnPart(Grid grid, int tensor, int expert, boolean apart) {
  /** Of an executor's rank. */
  static OwnPart of(Executor executor) {
    return new OwnPart(
        executor.plan().weights().grid(),
        executor.ranks().rank(Axis.TENSOR),
        executor.ranks().rank(Axis.EXPERT),
        executor.plan().sharding().updates());
  }

  /** Whether the rank has a part of the weight only. */
  boolean cut(FlatLayout.Slot slot) {
    return grid.cuts(slot.name());
  }

  /** Whether the rank has a part only of what an optimizer keeps for the weight. */
  boolean cut(FlatLayout.Slot slot, String kind) {
    return cut(grid.tensor(), slot, kind) || cut(grid.experts(), slot, kind);
  }

  private static boolean cut(Division division, FlatLayout.Slot slot, String kind) {
    return division.cuts(slot.name())
        && division.axis(slot.name(), slot.type()) != mean(slot, kind);
  }

  /** Whether this rank saves it: the first does what all have alike. */
  boolean saves(FlatLayout.Slot slot, String kind) {
    return (tensor == 0 || cut(grid.tensor(), slot, kind))
        && (apart || expert == 0 || cut(grid.experts(), slot, kind));
  }

  /**
   * The axis over which a kind of state has means; none of the weight's where it has all elements.
   */
  private static int mean(FlatLayout.Slot slot, String kind) {
    return switch (kind) {
      case Adafactor.ROW -> slot.type().rank() - 1;
      case Adafactor.COL -> slot.type().rank() - 2;
      default -> slot.type().rank();
    };
  }

  /**
   * The name of a tensor of an optimizer's state that belongs to a part of a weight.
   *
   * @param kind of state
   * @param from its first element, in what belongs to the part
   */
  PieceName name(FlatLayout.Slot slot, String kind, long from) {
    long[] shape = slot.type().shape();
    int mean = mean(slot, kind);
    if (mean < shape.length) {
      shape[mean] = 1;
    }
    TensorType type = new TensorType(DType.F32, shape);
    FlatLayout.Slot state = new FlatLayout.Slot(slot.name(), type, slot.offset());
    return name(state, from, cut(grid.tensor(), slot, kind), cut(grid.experts(), slot, kind));
  }

  /**
   * The name of elements of the rank's part.
   *
   * @param from the first of them, in the part
   */
  PieceName name(FlatLayout.Slot slot, long from) {
    String name = slot.name();
    return name(slot, from, grid.tensor().cuts(name), grid.experts().cuts(name));
  }

  /** Experts are a stretch of all of them, or of the view of all that their width's part is. */
  private PieceName name(FlatLayout.Slot part, long from, boolean matrices, boolean experts) {
    long first = experts ? expert * part.count() + from : from;
    if (!matrices) {
      return new PieceName(part.name(), first);
    }
    long run = grid.tensor().run(part.name(), part.type());
    return run == part.count() && !experts
        ? new PieceName(part.name(), tensor * run + first)
        : new PieceName(part.name(), first, tensor * run, run, grid.tensor().ranks() * run);
  }
}
