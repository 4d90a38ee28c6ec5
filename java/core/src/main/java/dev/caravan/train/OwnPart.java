package dev.caravan.train;

import dev.caravan.checkpoint.PieceName;
import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.optim.Adafactor;
import dev.caravan.tensor.TensorType;

/**
 * What a rank has of each weight, as files name it: all, or of tensor-parallel ranks a part.
 *
 * @param division which weights are parts
 * @param rank among those that share each matrix, or the experts
 * @param apart whether all that this rank keeps is on no other: ranks that share experts and keep parts
 */
record OwnPart(Division division, int rank, boolean apart) {
  /** Of an executor's rank. */
  static OwnPart of(Executor executor) {
    Division division = executor.plan().weights().division();
    return new OwnPart(
        division,
        executor.ranks().rank(division.axis()),
        division.axis() == Axis.EXPERT && executor.plan().sharding().updates());
  }

  /** Whether the rank has a part of the weight only. */
  boolean cut(FlatLayout.Slot slot) {
    return division.split().apply(slot.name()).cuts();
  }

  /** Whether the rank has a part only of what an optimizer keeps for the weight. */
  boolean cut(FlatLayout.Slot slot, String kind) {
    return cut(slot) && division.axis(slot.name(), slot.type()) != mean(slot, kind);
  }

  /** Whether this rank saves it: the first does what all have alike. */
  boolean saves(FlatLayout.Slot slot, String kind) {
    return apart || rank == 0 || cut(slot, kind);
  }

  /** The axis over which a kind of state has means; none of the weight's where it has all elements. */
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
    return name(slot.name(), new TensorType(DType.F32, shape), from);
  }

  /**
   * The name of elements of the rank's part.
   *
   * @param from the first of them, in the part
   */
  PieceName name(FlatLayout.Slot slot, long from) {
    return cut(slot)
        ? name(slot.name(), slot.type(), from)
        : new PieceName(slot.name(), from);
  }

  private PieceName name(String weight, TensorType part, long from) {
    long run = division.run(weight, part);
    return run == part.elements()
        ? new PieceName(weight, rank * run + from)
        : new PieceName(weight, from, rank * run, run, division.ranks() * run);
  }
}
