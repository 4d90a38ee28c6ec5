package dev.caravan.optim;

import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Adafactor.Part;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.List;

/**
 * What tensor-parallel ranks add up in a step of Adafactor, of all weights of which each has a part: sums
 * for means across the cut and the sizes of weights, then the sizes of updates. Two exchanges, whatever the
 * number of weights.
 */
final class AdafactorTotals implements AutoCloseable {
  /** Every part's sums begin at a multiple of so many elements. */
  private static final long ALIGNMENT = 16;

  private final Collectives ranks;
  private final Memory memory; // null where no weight is in parts
  private final Division division;
  private final Size size;
  private long nextSum;
  private long nextSquare;

  /** Elements of all sums and squares, of the rank that has most of them. */
  private record Size(long sums, long squares) {
    static Size of(FlatLayout layout, boolean factored) {
      long sums = 0;
      long squares = 0;
      for (List<FlatLayout.Slot> slots : Adafactor.slotsOfRanks(layout)) {
        long own = 0;
        long matrices = 0;
        for (FlatLayout.Slot slot : slots) {
          if (cut(layout, slot)) {
            long[] shape = Adafactor.matrix(slot.type().shape());
            long count = slot.type().rank() == Adafactor.EXPERTS ? slot.type().dim(0) : 1;
            own += count * align(Part.sums(axis(layout.grid().tensor(), slot), factored, shape));
            matrices += count;
          }
        }
        sums = Math.max(sums, own);
        squares = Math.max(squares, matrices);
      }
      return new Size(sums, squares);
    }

    long bytes() {
      return (sums + squares) * DType.F32.bytes();
    }
  }

  /** For the weights of an executor's rank; all zero. */
  AdafactorTotals(Executor executor, boolean factored) {
    FlatLayout layout = executor.plan().weights();
    ranks = executor.ranks();
    division = layout.grid().tensor();
    size = Size.of(layout, factored);
    memory = executor.allocate("totals of weights in parts", size.bytes());
    if (memory != null) {
      executor.stream().fill(memory.address(), 0, memory.bytes());
    }
    nextSquare = size.sums();
  }

  /** Whether tensor-parallel ranks have parts of a weight. */
  static boolean cut(FlatLayout layout, FlatLayout.Slot slot) {
    return layout.grid().tensor().cuts(slot.name());
  }

  /** The place of a part's totals: of a weight, or of one expert's matrix. */
  Part next(FlatLayout.Slot slot, boolean factored, long[] shape) {
    int axis = axis(division, slot);
    long sums = Part.sums(axis, factored, shape);
    Part part = new Part(division.ranks(), axis, row(nextSum, sums), row(nextSquare, 1));
    nextSum += align(sums);
    nextSquare++;
    return part;
  }

  private TensorRef row(long first, long count) {
    long address = memory.address() + first * DType.F32.bytes();
    return TensorRef.of(address, DType.F32, count);
  }

  private static int axis(Division division, FlatLayout.Slot slot) {
    int axis = division.axis(slot.name(), slot.type());
    return slot.type().rank() == Adafactor.EXPERTS ? axis - 1 : axis;
  }

  private static long align(long elements) {
    return (elements + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** Bytes that it allocates. */
  static long bytes(FlatLayout layout, boolean factored) {
    return Size.of(layout, factored).bytes();
  }

  /** Bytes that a rank sends in a step. */
  static long wireBytes(FlatLayout layout, boolean factored) {
    Size size = Size.of(layout, factored);
    return wireBytes(layout, size.sums()) + wireBytes(layout, size.squares());
  }

  private static long wireBytes(FlatLayout layout, long elements) {
    return Collective.wireBytes(
        Kind.ALL_REDUCE, layout.grid().tensor().ranks(), elements * DType.F32.bytes());
  }

  /** Adds the sums up. */
  void addSums(Stream stream) {
    add(stream, 0, size.sums());
  }

  /** Adds the squares up. */
  void addSquares(Stream stream) {
    add(stream, size.sums(), size.squares());
  }

  private void add(Stream stream, long first, long elements) {
    if (memory != null) {
      TensorRef row = row(first, elements);
      ranks.begin(stream, Collective.allReduce(Axis.TENSOR, division.ranks(), row));
      ranks.join(stream, Axis.TENSOR);
    }
  }

  @Override
  public void close() {
    if (memory != null) {
      memory.close();
    }
  }
}
