package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The whole weights of ranks that keep parts, for the first rank to write: it asks for one bucket after
 * another, and of what ranks have parts of for one piece after another, and all exchange it. The
 * others {@link #serve} meanwhile.
 */
final class GatheredWeights {
  private static final int DONE = 0;
  private static final int BUCKET = 1;
  private static final int PIECE = 2;

  /** Where weights seem to lie that are whole nowhere: not null. */
  private static final long NOWHERE = 256;

  private final Executor executor;
  private final FlatLayout layout;
  private final GatherWindow window;
  private final OwnPart own;
  private final boolean sharded;
  private final boolean asks;
  private int gathered = -1; // bucket
  private FlatLayout.Slot fetched; // of which a piece was
  private int piece;

  /**
   * @param window of the executor's rank
   */
  GatheredWeights(Executor executor, GatherWindow window) {
    this.executor = executor;
    this.window = window;
    layout = executor.plan().weights();
    own = OwnPart.of(executor);
    sharded = executor.plan().sharding().weights();
    asks = sharded || layout.grid().ranks() > 1;
  }

  /** Bytes of all whole weights, gaps included. */
  static long bytes(Plan plan) {
    FlatLayout layout = plan.weights();
    long others =
        layout.slots().stream()
            .mapToLong(slot -> layout.whole(slot).elements() - slot.count())
            .sum();
    return (layout.elements() + others) * plan.storage().bytes();
  }

  /**
   * The weights, for the first rank; to be read before {@link #done}.
   *
   * @param order names of all weights, in the order in which they are wanted
   */
  List<NamedTensor> tensors(TensorAccess access, List<String> order) {
    if (!asks) {
      return ModelSource.named(executor, access);
    }
    List<FlatLayout.Slot> slots = new ArrayList<>(layout.slots());
    slots.sort(Comparator.comparingInt(slot -> order.indexOf(slot.name())));
    List<NamedTensor> tensors = new ArrayList<>();
    for (FlatLayout.Slot slot : slots) {
      TensorRef weight = executor.weight(slot.name());
      TensorAccess how = sharded ? new Staged(slot, access) : access;
      if (own.cut(slot)) {
        weight = TensorRef.of(NOWHERE, weight.dtype(), layout.whole(slot).shape());
        how = new Joined(slot, access);
      }
      tensors.addAll(ModelSource.stored(slot.name(), weight, how));
    }
    return tensors;
  }

  /** Lets the other ranks go on. */
  void done() {
    if (asks) {
      ask(DONE, 0, 0);
    }
  }

  /** Exchanges what the first rank asks for, until it has done. */
  void serve() {
    while (asks) {
      int[] wish = ask(DONE, 0, 0);
      if (wish[0] == DONE) {
        return;
      }
      if (wish[0] == BUCKET) {
        executor.shards().gather(wish[1]);
      } else if (CheckpointSaver.besideFirst(executor)) {
        window.fetch(layout.slots().get(wish[1]), wish[2]);
      }
    }
  }

  /** What the first rank wants; the others add nothing. */
  private int[] ask(int kind, int which, int number) {
    double[] wish = {kind, which, number};
    executor.ranks().sum(Axis.WORLD, wish);
    return new int[] {(int) wish[0], (int) wish[1], (int) wish[2]};
  }

  private void gather(FlatLayout.Slot slot) {
    int bucket = layout.buckets().indexOf(layout.bucket(slot.name()));
    if (sharded && gathered != bucket) {
      ask(BUCKET, bucket, 0);
      executor.shards().gather(bucket);
      gathered = bucket;
    }
  }

  /** Reads a weight that is gathered first, with its bucket. */
  private final class Staged extends ReadOnly {
    private final FlatLayout.Slot slot;

    Staged(FlatLayout.Slot slot, TensorAccess access) {
      super(access);
      this.slot = slot;
    }

    @Override
    public ByteBuffer read(long address, int bytes) {
      gather(slot);
      return access.read(address, bytes);
    }
  }

  /** Reads a weight that is put together piece by piece. */
  private final class Joined extends ReadOnly {
    private final FlatLayout.Slot slot;
    private ByteBuffer held;

    Joined(FlatLayout.Slot slot, TensorAccess access) {
      super(access);
      this.slot = slot;
    }

    @Override
    public ByteBuffer read(long address, int bytes) {
      int size = slot.type().dtype().bytes();
      PartPieces pieces = window.pieces(slot);
      ByteBuffer wanted = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
      while (wanted.hasRemaining()) {
        long at = address - NOWHERE + wanted.position();
        int number = pieces.number(at / size);
        if (fetched != slot || piece != number || held == null) {
          gather(slot);
          ask(PIECE, layout.slots().indexOf(slot), number);
          window.fetch(slot, number);
          held = window.read(slot, number, access);
          fetched = slot;
          piece = number;
        }
        int from = Math.toIntExact(at - pieces.piece(number).place() * size);
        int count = Math.min(wanted.remaining(), held.limit() - from);
        wanted.put(held.duplicate().position(from).limit(from + count));
      }
      return wanted.flip();
    }
  }

  /** Gathered weights are not written to. */
  private abstract static class ReadOnly implements TensorAccess {
    final TensorAccess access;

    ReadOnly(TensorAccess access) {
      this.access = access;
    }

    @Override
    public int window() {
      return access.window();
    }

    @Override
    public void write(long address, ByteBuffer bytes) {
      throw new UnsupportedOperationException("gathered weights are read only");
    }
  }
}
