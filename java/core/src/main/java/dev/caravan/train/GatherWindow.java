package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Grid;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.TensorRef;
import dev.caravan.train.PartPieces.Piece;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Memory through which ranks put a weight together piece by piece, of which each has a part: first
 * those that share its matrices, of pieces that are whole runs, each rank sends its own to all, of
 * others, the one that has it; then those that share the experts, the one that has the piece to the
 * others.
 */
final class GatherWindow implements AutoCloseable {
  /** All ranks' pieces together have so many bytes at the most. */
  private static final long BYTES = 4L << 20;

  private final Executor executor;
  private final FlatLayout layout;
  private final Memory memory;

  GatherWindow(Executor executor) {
    this.executor = executor;
    layout = executor.plan().weights();
    memory = executor.allocate("the window of weights in parts", bytes(executor.plan()));
  }

  /** Bytes that it allocates; 0 where no weight is in parts. */
  static long bytes(Plan plan) {
    Grid grid = plan.weights().grid();
    return plan.weights().slots().stream()
        .filter(slot -> grid.cuts(slot.name()))
        .mapToLong(
            slot -> {
              PartPieces pieces = pieces(grid, slot);
              return pieces.ranks() * pieces.most() * slot.type().dtype().bytes();
            })
        .max()
        .orElse(0);
  }

  private static PartPieces pieces(Grid grid, FlatLayout.Slot slot) {
    Division tensor = grid.tensor();
    boolean cut = tensor.cuts(slot.name());
    int groups = grid.experts().cuts(slot.name()) ? grid.experts().ranks() : 1;
    int ranks = cut ? tensor.ranks() : 1;
    long run = cut ? tensor.run(slot.name(), slot.type()) : slot.count();
    long room = Math.max(1, BYTES / ranks / slot.type().dtype().bytes());
    return new PartPieces(groups, ranks, slot.count(), run, room);
  }

  /** The pieces of a weight, of which each rank has a part. */
  PartPieces pieces(FlatLayout.Slot slot) {
    return pieces(layout.grid(), slot);
  }

  /** Exchanges a piece; all ranks that have parts of the weights do. */
  void fetch(FlatLayout.Slot slot, int number) {
    PartPieces pieces = pieces(slot);
    Piece piece = pieces.piece(number);
    TensorRef row = row(slot, piece);
    if (pieces.ranks() > 1 && ofGroup(pieces, piece)) {
      exchange(
          pieces.together()
              ? new Collective(
                  Kind.ALL_GATHER, Axis.TENSOR, pieces.ranks(), own(slot, piece), row, 0)
              : broadcast(Axis.TENSOR, pieces.ranks(), row, piece.root()));
    }
    if (pieces.groups() > 1) {
      exchange(broadcast(Axis.EXPERT, pieces.groups(), row, piece.group()));
    }
    executor.stream().synchronize();
  }

  private static Collective broadcast(Axis axis, int ranks, TensorRef row, int root) {
    return new Collective(Kind.BROADCAST, axis, ranks, row, row, root);
  }

  private void exchange(Collective collective) {
    executor.ranks().begin(executor.stream(), collective);
    executor.ranks().join(executor.stream(), collective.axis());
  }

  /** Whether the piece is of the experts that this rank has parts of. */
  private boolean ofGroup(PartPieces pieces, Piece piece) {
    return pieces.groups() == 1 || piece.group() == executor.ranks().rank(Axis.EXPERT);
  }

  /** Where a piece lies once it is fetched: where it did, or in the window. */
  private TensorRef row(FlatLayout.Slot slot, Piece piece) {
    PartPieces pieces = pieces(slot);
    boolean alone = pieces.ranks() == 1 || piece.root() == executor.ranks().rank(Axis.TENSOR);
    return !pieces.together() && alone && ofGroup(pieces, piece)
        ? own(slot, piece)
        : TensorRef.in(memory, 0, slot.type().dtype(), piece.length());
  }

  private TensorRef own(FlatLayout.Slot slot, Piece piece) {
    TensorRef weight = executor.weight(slot.name());
    long address = weight.address() + piece.first() * weight.dtype().bytes();
    return TensorRef.of(address, weight.dtype(), piece.count());
  }

  /** The bytes of the piece that was fetched last, as they lie in the whole weight. */
  ByteBuffer read(FlatLayout.Slot slot, int number, TensorAccess access) {
    Piece piece = pieces(slot).piece(number);
    DType dtype = slot.type().dtype();
    int bytes = Math.toIntExact(piece.length() * dtype.bytes());
    ByteBuffer whole = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer parts = access.read(row(slot, piece).address(), bytes);
    if (!pieces(slot).together()) {
      return whole.put(parts).flip();
    }
    int ranks = pieces(slot).ranks();
    int run = Math.toIntExact(pieces(slot).run() * dtype.bytes());
    int part = bytes / ranks;
    for (int i = 0; i < part / run; i++) {
      for (int rank = 0; rank < ranks; rank++) {
        int from = rank * part + i * run;
        whole.put(parts.duplicate().position(from).limit(from + run));
      }
    }
    return whole.flip();
  }

  @Override
  public void close() {
    if (memory != null) {
      memory.close();
    }
  }
}
