package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.graph.Division;
import dev.caravan.graph.Division.Split;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Memory through which tensor-parallel ranks put a weight together piece by piece, of which each has a
 * part: of rows, the one that has them sends them to all; of columns, every rank some of each row.
 */
final class GatherWindow implements AutoCloseable {
  /** All ranks' pieces together have so many bytes, or one row of each. */
  private static final long BYTES = 4L << 20;

  /**
   * A piece of a weight.
   *
   * @param root who has it; of columns, all do
   * @param first its first element in each rank's part
   * @param count elements in each part that has some
   * @param place its first element in the whole weight
   * @param length elements in the whole weight
   */
  record Piece(int root, long first, long count, long place, long length) {}

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
        .mapToLong(slot -> division.ranks() * most(division, slot) * slot.type().dtype().bytes())
        .max()
        .orElse(0);
  }

  /** Elements of a part in a piece at the most: whole rows of columns. */
  private static long most(Division division, FlatLayout.Slot slot) {
    long room = BYTES / division.ranks() / slot.type().dtype().bytes();
    long row = columns(division, slot) ? slot.type().dim(1) : 1;
    return Math.min(slot.count(), Math.max(1, room / row) * row);
  }

  private static boolean columns(Division division, FlatLayout.Slot slot) {
    return division.split().apply(slot.name()) == Split.COLUMNS;
  }

  /** The number of the piece that holds an element of the whole weight. */
  int number(FlatLayout.Slot slot, long place) {
    long most = most(layout.division(), slot);
    if (columns(layout.division(), slot)) {
      return Math.toIntExact(place / (most * ranks));
    }
    long pieces = (slot.count() + most - 1) / most;
    return Math.toIntExact(place / slot.count() * pieces + place % slot.count() / most);
  }

  Piece piece(FlatLayout.Slot slot, int number) {
    long most = most(layout.division(), slot);
    if (columns(layout.division(), slot)) {
      long first = number * most;
      long count = Math.min(most, slot.count() - first);
      return new Piece(0, first, count, first * ranks, count * ranks);
    }
    long pieces = (slot.count() + most - 1) / most;
    int root = Math.toIntExact(number / pieces);
    long first = number % pieces * most;
    long count = Math.min(most, slot.count() - first);
    return new Piece(root, first, count, root * slot.count() + first, count);
  }

  /** Exchanges a piece; all ranks of the group do. */
  void fetch(FlatLayout.Slot slot, int number) {
    Piece piece = piece(slot, number);
    TensorRef own = own(slot, piece);
    Stream stream = executor.stream();
    if (columns(layout.division(), slot)) {
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
    Piece piece = piece(slot, number);
    DType dtype = slot.type().dtype();
    int bytes = Math.toIntExact(piece.length() * dtype.bytes());
    ByteBuffer whole = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    if (!columns(layout.division(), slot)) {
      long from = held(piece) ? own(slot, piece).address() : memory.address();
      return whole.put(access.read(from, bytes)).flip();
    }
    ByteBuffer parts = access.read(memory.address(), bytes);
    int own = Math.toIntExact(slot.type().dim(1) * dtype.bytes());
    int part = bytes / ranks;
    for (int row = 0; row < part / own; row++) {
      for (int rank = 0; rank < ranks; rank++) {
        whole.put(parts.duplicate().position(rank * part + row * own).limit(rank * part + (row + 1) * own));
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
