package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.train.PartPieces.Piece;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Memory through which ranks put a weight together piece by piece, of which each has a part: of pieces that
 * are whole runs, each rank sends its own to all; of others, the one that has it.
 */
final class GatherWindow implements AutoCloseable {
  /** All ranks' pieces together have so many bytes at the most. */
  private static final long BYTES = 4L << 20;

  private final Executor executor;
  private final FlatLayout layout;
  private final int ranks;
  private final Memory memory;

  GatherWindow(Executor executor) {
    this.executor = executor;
    layout = executor.plan().weights();
    ranks = layout.division().ranks();
    memory = executor.allocate("the window of weights in parts", bytes(executor.plan()));
  }

  /** Bytes that it allocates; 0 where no weight is in parts. */
  static long bytes(Plan plan) {
    Division division = plan.weights().division();
    return plan.weights().slots().stream()
        .filter(slot -> division.split().apply(slot.name()).cuts())
        .mapToLong(
            slot -> division.ranks() * pieces(division, slot).most() * slot.type().dtype().bytes())
        .max()
        .orElse(0);
  }

  private static PartPieces pieces(Division division, FlatLayout.Slot slot) {
    long room = Math.max(1, BYTES / division.ranks() / slot.type().dtype().bytes());
    long run = division.run(slot.name(), slot.type());
    return new PartPieces(division.ranks(), slot.count(), run, room);
  }

  /** The pieces of a weight, of which each rank has a part. */
  PartPieces pieces(FlatLayout.Slot slot) {
    return pieces(layout.division(), slot);
  }

  /** Exchanges a piece; all ranks of the group do. */
  void fetch(FlatLayout.Slot slot, int number) {
    Piece piece = pieces(slot).piece(number);
    TensorRef own = own(slot, piece);
    Stream stream = executor.stream();
    if (pieces(slot).together()) {
      TensorRef all = TensorRef.in(memory, 0, own.dtype(), piece.length());
      executor
          .ranks()
          .begin(stream, new Collective(Kind.ALL_GATHER, layout.division().axis(), ranks, own, all, 0));
    } else {
      TensorRef row = held(piece) ? own : TensorRef.in(memory, 0, own.dtype(), piece.count());
      executor
          .ranks()
          .begin(
              stream,
              new Collective(Kind.BROADCAST, layout.division().axis(), ranks, row, row, piece.root()));
    }
    executor.ranks().join(stream, layout.division().axis());
    stream.synchronize();
  }

  private boolean held(Piece piece) {
    return piece.root() == executor.ranks().rank(layout.division().axis());
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
    if (!pieces(slot).together()) {
      long from = held(piece) ? own(slot, piece).address() : memory.address();
      return whole.put(access.read(from, bytes)).flip();
    }
    ByteBuffer parts = access.read(memory.address(), bytes);
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
