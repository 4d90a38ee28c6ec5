package dev.caravan.graph;

import dev.caravan.graph.FlatLayout.Bucket;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** What one rank keeps and updates of an executor's weights: all, or its part of each bucket. */
public final class Shards {
  /**
   * A range that this rank updates.
   *
   * @param bucket that it is a part of; null where it is all weights
   * @param first its first element in the flat buffer of all weights
   * @param kept its first element among those that the rank keeps
   * @param weights one row
   * @param remainders u16, one row; null where weights are float32
   * @param gradients f32, one row; null when nothing is trained
   */
  public record Piece(
      Bucket bucket,
      long first,
      long kept,
      TensorRef weights,
      TensorRef remainders,
      TensorRef gradients) {
    /** How many elements. */
    public long count() {
      return weights.elements();
    }
  }

  private final Executor executor;
  private final FlatLayout layout;
  private final Sharding sharding;
  private final Memory weights;
  private final Memory remainders;
  private final Memory gradients;
  private final Memory arena;

  Shards(Executor executor, Memory weights, Memory remainders, Memory gradients, Memory arena) {
    this.executor = executor;
    this.weights = weights;
    this.remainders = remainders;
    this.gradients = gradients;
    this.arena = arena;
    layout = executor.plan().weights();
    sharding = executor.plan().sharding();
  }

  /** Part {@code rank} of {@code parts} of one row. */
  public static TensorRef part(TensorRef row, int rank, int parts) {
    long count = row.elements() / parts;
    return TensorRef.of(row.address() + rank * count * row.dtype().bytes(), row.dtype(), count);
  }

  /** The ranges that this rank updates, ascending. */
  public List<Piece> pieces() {
    if (!sharding.updates()) {
      return List.of(
          new Piece(
              null, 0, 0, executor.weights(), executor.remainders(), executor.gradients()));
    }
    List<Piece> pieces = new ArrayList<>();
    for (Bucket bucket : layout.buckets()) {
      long count = bucket.part();
      long first = bucket.offset() + executor.ranks().rank(bucket.axis()) * count;
      long kept = bucket.kept();
      pieces.add(
          new Piece(
              bucket,
              first,
              kept,
              row(weights, executor.plan().storage(), sharding.weights() ? kept : first, count),
              row(remainders, DType.U16, kept, count),
              row(gradients, DType.F32, sharding.gradients() ? kept : first, count)));
    }
    return pieces;
  }

  private static TensorRef row(Memory memory, DType dtype, long first, long count) {
    return memory == null
        ? null
        : TensorRef.of(memory.address() + first * dtype.bytes(), dtype, count);
  }

  /**
   * Begins to give every rank what this one has updated of a piece; nothing where each keeps its part, or
   * updates all.
   */
  public void publish(Stream stream, Piece piece) {
    if (sharding.updates() && !sharding.weights() && piece.bucket.parts() > 1) {
      TensorRef whole =
          row(weights, executor.plan().storage(), piece.bucket.offset(), piece.bucket.elements());
      executor.ranks().begin(stream, gathering(piece.bucket, piece.weights, whole));
    }
  }

  /** Lets later work wait for all that was published. */
  public void join(Stream stream) {
    if (sharding.updates()) {
      executor.ranks().join(stream, Axis.DATA);
      executor.ranks().join(stream, Axis.REPLICA);
    }
  }

  private static Collective gathering(Bucket bucket, TensorRef part, TensorRef whole) {
    return new Collective(Kind.ALL_GATHER, bucket.axis(), bucket.parts(), part, whole, 0);
  }

  /**
   * Fills the weights between steps: {@code fill} writes every weight of a bucket to where {@link
   * Executor#weight} says, and of that the rank keeps what is its own.
   */
  public void load(Consumer<FlatLayout.Slot> fill) {
    if (!sharding.weights()) {
      layout.slots().forEach(fill);
      return;
    }
    Stream stream = executor.stream();
    for (Piece piece : pieces()) {
      if (piece.bucket.parts() == 1) {
        piece.bucket.slots().forEach(fill);
        continue;
      }
      TensorRef staged = staged(piece.bucket);
      stream.fill(staged.address(), 0, staged.bytes());
      piece.bucket.slots().forEach(fill);
      TensorRef own = part(staged, executor.ranks().rank(piece.bucket.axis()), piece.bucket.parts());
      stream.copy(piece.weights.address(), own.address(), own.bytes());
    }
    stream.synchronize();
  }

  /** Gathers a bucket's weights into the arena, between steps; all ranks do it. */
  public void gather(int bucket) {
    Collectives ranks = executor.ranks();
    Piece piece = pieces().get(bucket);
    if (piece.bucket.parts() == 1) {
      return;
    }
    ranks.begin(
        executor.stream(), gathering(piece.bucket, piece.weights, staged(piece.bucket)));
    ranks.join(executor.stream(), piece.bucket.axis());
    executor.stream().synchronize();
  }

  private TensorRef staged(Bucket bucket) {
    return row(arena, executor.plan().storage(), 0, bucket.elements());
  }
}
