package dev.caravan.bench;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Time of exchanges between ranks, each after a check of its values. */
public final class CollectivesBench {
  private static final int ROUNDS = 5;
  private static final int MOST_RUNS = 20;

  /** Bytes that one round exchanges at least, where that takes no more than {@link #MOST_RUNS}. */
  private static final long ROUND_BYTES = 64L << 20;

  private CollectivesBench() {}

  /**
   * One exchange.
   *
   * @param kind of exchange
   * @param bytes of the longer side
   * @param seconds median
   * @param bytesPerSecond of the longer side
   * @param busBytesPerSecond what each rank's link carries, as nccl-tests count it: twice (N-1)/N of the
   *     bytes for a sum, (N-1)/N for the rest, all of them for a broadcast
   */
  public record Row(
      Kind kind, long bytes, double seconds, double bytesPerSecond, double busBytesPerSecond) {}

  /**
   * Measures on one rank; all ranks do the same.
   *
   * @param sizes bytes of the longer side
   * @throws KernelException if an exchange gives other values than it should
   */
  public static List<Row> run(Collectives group, Stream stream, List<Long> sizes) {
    List<Row> rows = new ArrayList<>();
    for (Kind kind : Kind.values()) {
      for (long bytes : sizes) {
        rows.add(run(group, stream, kind, bytes));
      }
    }
    return rows;
  }

  private static Row run(Collectives group, Stream stream, Kind kind, long wanted) {
    int ranks = group.size(Axis.WORLD);
    int rank = group.rank(Axis.WORLD);
    int part = Math.toIntExact(Math.max(1, wanted / Float.BYTES / ranks));
    int longer = part * ranks;
    boolean inPlace = kind == Kind.ALL_REDUCE || kind == Kind.BROADCAST;
    int send = kind == Kind.ALL_GATHER ? part : longer;
    int receive = kind == Kind.REDUCE_SCATTER ? part : longer;
    long bytes = (long) longer * Float.BYTES;
    try (Memory memory = Memory.allocate(stream.device(), 2 * bytes);
        Memory host = Memory.staging(stream.device(), bytes)) {
      TensorRef from = TensorRef.in(memory, 0, DType.F32, send);
      TensorRef to = inPlace ? from : TensorRef.in(memory, bytes, DType.F32, receive);
      Collective exchange = new Collective(kind, Axis.WORLD, ranks, from, to, 0);
      FloatBuffer values =
          host.view(0, (int) bytes).order(ByteOrder.nativeOrder()).asFloatBuffer();
      for (int i = 0; i < send; i++) {
        values.put(i, value(rank, i));
      }
      stream.copy(from.address(), host.address(), (long) send * Float.BYTES);
      exchange(group, stream, exchange);
      stream.copy(host.address(), to.address(), (long) receive * Float.BYTES);
      stream.synchronize();
      check(kind, ranks, rank, part, values, receive);
      group.barrier();
      int runs = (int) Math.max(1, Math.min(MOST_RUNS, ROUND_BYTES / bytes));
      double seconds = median(group, stream, exchange, runs);
      double rate = bytes / seconds;
      double share = kind == Kind.BROADCAST ? 1 : (ranks - 1.0) / ranks;
      double bus = rate * (kind == Kind.ALL_REDUCE ? 2 * share : share);
      return new Row(kind, bytes, seconds, rate, bus);
    }
  }

  private static double median(
      Collectives group, Stream stream, Collective exchange, int runs) {
    double[] rounds = new double[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
      group.barrier();
      long began = System.nanoTime();
      for (int i = 0; i < runs; i++) {
        exchange(group, stream, exchange);
      }
      stream.synchronize();
      rounds[round] = (System.nanoTime() - began) * 1e-9 / runs;
    }
    group.barrier();
    Arrays.sort(rounds);
    return rounds[ROUNDS / 2];
  }

  private static void exchange(Collectives group, Stream stream, Collective exchange) {
    group.join(stream, Axis.WORLD, group.begin(stream, exchange));
  }

  /** Small whole numbers, whose sums are exact. */
  private static float value(int rank, int i) {
    return rank + 1 + i % 251;
  }

  private static void check(
      Kind kind, int ranks, int rank, int part, FloatBuffer got, int count) {
    for (int i = 0; i < count; i++) {
      float expected = 0;
      for (int peer = 0; peer < ranks; peer++) {
        expected += value(peer, kind == Kind.REDUCE_SCATTER ? rank * part + i : i);
      }
      switch (kind) {
        case ALL_GATHER -> expected = value(i / part, i % part);
        case ALL_TO_ALL -> expected = value(i / part, rank * part + i % part);
        case BROADCAST -> expected = value(0, i);
        default -> {
          // a sum
        }
      }
      if (got.get(i) != expected) {
        throw KernelException.lost(
            "%s over %d ranks: element %d of rank %d is %s, needs %s"
                .formatted(kind, ranks, i, rank, got.get(i), expected));
      }
    }
  }
}
