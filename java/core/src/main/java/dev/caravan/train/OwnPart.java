package dev.caravan.train;

import dev.caravan.checkpoint.PieceName;
import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Collective.Axis;

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

  /** Whether this rank saves what belongs to a weight: the first does what all have alike. */
  boolean saves(FlatLayout.Slot slot) {
    return apart || rank == 0 || cut(slot);
  }

  /**
   * The name of a tensor of an optimizer's state, whole or a part, that belongs to a part of a weight.
   *
   * @param name that it has on this rank
   * @param elements that it has
   */
  String name(FlatLayout.Slot slot, String name, long elements) {
    PieceName known = PieceName.parse(name);
    boolean whole = known.tensor().equals(name); // of this rank
    return division.axis() == Axis.EXPERT && whole
        ? new PieceName(slot.name(), rank * elements).toString()
        : name(slot, known.from()).toString();
  }

  /**
   * The name of elements of the rank's part.
   *
   * @param from the first of them, in the part
   */
  PieceName name(FlatLayout.Slot slot, long from) {
    if (!cut(slot)) {
      return new PieceName(slot.name(), from);
    }
    long run = division.run(slot.name(), slot.type());
    return run == slot.count()
        ? new PieceName(slot.name(), rank * run + from)
        : new PieceName(slot.name(), from, rank * run, run, division.ranks() * run);
  }
}
