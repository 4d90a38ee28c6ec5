package dev.caravan.kernels.nvidia;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Exchanges become the library's calls, here those of a stand-in on the CPU; no GPU takes part. */
class NcclCollectivesTest {
  private static final int PART = 5;
  private static final Duration PATIENCE = Duration.ofMinutes(5);

  /** What a rank does with its end. */
  private interface Body<T> {
    T run(NcclCollectives group, Stream stream, int rank) throws Exception;
  }

  private static <T> List<T> onRanks(FakeNccl nccl, int ranks, Duration patience, Body<T> body)
      throws Exception {
    List<FakeNccl.Rank> libraries = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      libraries.add(nccl.rank(rank));
    }
    return onRanks(libraries, patience, body);
  }

  private static <T> List<T> onRanks(
      List<FakeNccl.Rank> libraries, Duration patience, Body<T> body) throws Exception {
    int ranks = libraries.size();
    ExecutorService threads = Executors.newFixedThreadPool(ranks);
    List<Future<T>> results = new ArrayList<>();
    for (int r = 0; r < ranks; r++) {
      int rank = r;
      results.add(
          threads.submit(
              () -> {
                NcclCollectives.Place place =
                    new NcclCollectives.Place(new byte[128], ranks, rank);
                try (Stream stream = Stream.open(Device.CPU, 1);
                    NcclCollectives group =
                        new NcclCollectives(
                            libraries.get(rank), stream, Map.of(Axis.WORLD, place), patience)) {
                  return body.run(group, stream, rank);
                }
              }));
    }
    threads.shutdown();
    List<T> all = new ArrayList<>();
    for (Future<T> result : results) {
      all.add(result.get());
    }
    return all;
  }

  /** Rank r's element i, in the sender's row. */
  private static float value(int rank, int i) {
    return 100 * rank + i + 0.25f;
  }

  private static float[] exchange(
      NcclCollectives group, Stream stream, int rank, Kind kind, int root) {
    int ranks = group.size(Axis.WORLD);
    int send = kind == Kind.REDUCE_SCATTER || kind == Kind.ALL_TO_ALL ? ranks * PART : PART;
    int receive = kind == Kind.ALL_GATHER || kind == Kind.ALL_TO_ALL ? ranks * PART : PART;
    boolean inPlace = kind == Kind.ALL_REDUCE || kind == Kind.BROADCAST;
    try (Memory memory =
        Memory.allocate(Device.CPU, (long) (send + receive) * Float.BYTES)) {
      FloatBuffer floats =
          memory.view(0, (int) memory.bytes()).order(ByteOrder.nativeOrder()).asFloatBuffer();
      for (int i = 0; i < send; i++) {
        floats.put(i, value(rank, i));
      }
      TensorRef from = TensorRef.in(memory, 0, DType.F32, send);
      TensorRef to =
          inPlace ? from : TensorRef.in(memory, (long) send * Float.BYTES, DType.F32, receive);
      Collective c = new Collective(kind, Axis.WORLD, ranks, from, to, root);
      group.join(stream, Axis.WORLD, group.begin(stream, c));
      group.barrier();
      float[] result = new float[receive];
      floats.position(inPlace ? 0 : send).get(result);
      return result;
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void everyExchangeIsTheLibrarys(int ranks) throws Exception {
    for (Kind kind : Kind.values()) {
      int root = kind == Kind.BROADCAST ? ranks - 1 : 0;
      List<float[]> got =
          onRanks(
              new FakeNccl(ranks),
              ranks,
              PATIENCE,
              (group, stream, rank) -> exchange(group, stream, rank, kind, root));
      for (int rank = 0; rank < ranks; rank++) {
        float[] expected = new float[got.get(rank).length];
        for (int i = 0; i < expected.length; i++) {
          expected[i] = expected(kind, ranks, rank, root, i);
        }
        assertArrayEquals(expected, got.get(rank), kind + " on rank " + rank);
      }
    }
  }

  /** Rank r sends each rank but the last r + 1 of its part's elements; the last sends and gets none. */
  @Test
  void countedElementsComeAlone() throws Exception {
    int ranks = 3;
    List<float[]> got =
        onRanks(
            new FakeNccl(ranks),
            ranks,
            PATIENCE,
            (group, stream, rank) -> {
              long[] sent = {rank == 2 ? 0 : rank + 1, rank == 2 ? 0 : rank + 1, 0};
              long[] received = {rank == 2 ? 0 : 1, rank == 2 ? 0 : 2, 0};
              int all = ranks * PART;
              try (Memory memory = Memory.allocate(Device.CPU, 2L * all * Float.BYTES)) {
                FloatBuffer floats =
                    memory
                        .view(0, (int) memory.bytes())
                        .order(ByteOrder.nativeOrder())
                        .asFloatBuffer();
                for (int i = 0; i < all; i++) {
                  floats.put(i, value(rank, i)).put(all + i, -1);
                }
                TensorRef from = TensorRef.in(memory, 0, DType.F32, all);
                TensorRef to = TensorRef.in(memory, (long) all * Float.BYTES, DType.F32, all);
                Collective.Counts counts = new Collective.Counts(sent, received);
                Collective c =
                    new Collective(Kind.ALL_TO_ALL, Axis.WORLD, ranks, from, to, 0, counts);
                group.join(stream, Axis.WORLD, group.begin(stream, c));
                group.barrier();
                float[] result = new float[all];
                floats.position(all).get(result);
                return result;
              }
            });
    for (int rank = 0; rank < ranks; rank++) {
      for (int i = 0; i < ranks * PART; i++) {
        int from = i / PART;
        boolean comes = rank < 2 && from < 2 && i % PART <= from;
        float expected = comes ? value(from, rank * PART + i % PART) : -1;
        assertEquals(expected, got.get(rank)[i], "element " + i + " on rank " + rank);
      }
    }
  }

  private static float expected(Kind kind, int ranks, int rank, int root, int i) {
    float sum = 0;
    for (int peer = 0; peer < ranks; peer++) {
      sum += value(peer, kind == Kind.REDUCE_SCATTER ? rank * PART + i : i);
    }
    return switch (kind) {
      case ALL_REDUCE, REDUCE_SCATTER -> sum;
      case ALL_GATHER -> value(i / PART, i % PART);
      case ALL_TO_ALL -> value(i / PART, rank * PART + i % PART);
      case BROADCAST -> value(root, i);
    };
  }

  @Test
  void exchangesThatBelongTogetherAreLaunchedAsOne() throws Exception {
    FakeNccl nccl = new FakeNccl(1);
    FakeNccl.Rank library = nccl.rank(0);
    onRanks(
        List.of(library),
        PATIENCE,
        (group, stream, rank) -> {
          try (Memory memory = Memory.allocate(Device.CPU, 64)) {
            TensorRef row = TensorRef.in(memory, 0, DType.F32, 4);
            Collective sum = Collective.allReduce(Axis.WORLD, 1, row);
            long ticket = group.begin(stream, List.of(sum, sum));
            group.join(stream, Axis.WORLD, ticket);
            return ticket;
          }
        });
    assertEquals(List.of("begin", "allReduce", "allReduce", "end"), library.calls());
    assertTrue(library.left);
  }

  /** Numbers whose sum depends on the order, more than fit one exchange. */
  @Test
  void numbersOfTheHostAreAddedInTheOrderOfTheRanks() throws Exception {
    List<double[]> got =
        onRanks(
            new FakeNccl(3),
            3,
            PATIENCE,
            (group, stream, rank) -> {
              double[] values = new double[100];
              for (int i = 0; i < values.length; i++) {
                values[i] = rank == 0 ? 1e16 : rank == 1 ? -1e16 : i;
              }
              group.sum(Axis.WORLD, values);
              return values;
            });
    for (double[] values : got) {
      for (int i = 0; i < values.length; i++) {
        assertEquals(1e16 - 1e16 + i, values[i]);
      }
    }
  }

  /** More exchanges than there are events. */
  @Test
  void anOldExchangeCanStillBeWaitedFor() throws Exception {
    List<Long> last =
        onRanks(
            new FakeNccl(1),
            1,
            PATIENCE,
            (group, stream, rank) -> {
              try (Memory memory = Memory.allocate(Device.CPU, 64)) {
                Collective sum =
                    Collective.allReduce(
                        Axis.WORLD, 1, TensorRef.in(memory, 0, DType.F32, 4));
                long ticket = 0;
                for (int i = 0; i < 200; i++) {
                  ticket = group.begin(stream, sum);
                }
                group.join(stream, Axis.WORLD, 3);
                group.join(stream, Axis.WORLD);
                return ticket;
              }
            });
    assertEquals(199, last.get(0));
  }

  @Test
  void aFailureOfTheLibraryNamesRankExchangeAndStepAndEndsTheRest() throws Exception {
    FakeNccl nccl = new FakeNccl(1);
    FakeNccl.Rank library = nccl.rank(0);
    onRanks(
        List.of(library),
        PATIENCE,
        (group, stream, rank) -> {
          group.at(12);
          library.failure = "unhandled system error (2)";
          KernelException failure =
              assertThrows(
                  KernelException.DeviceLost.class,
                  () -> exchange(group, stream, rank, Kind.ALL_REDUCE, 0));
          assertTrue(
              failure
                  .getMessage()
                  .startsWith("rank 0, in all_reduce of F32 [5] over world in step 12: "),
              failure.getMessage());
          assertTrue(failure.getMessage().contains("unhandled system error"));
          assertThrows(KernelException.DeviceLost.class, group::barrier);
          return null;
        });
    assertTrue(library.aborted);
    assertFalse(library.left, "what was aborted is not left as well");
  }

  /** Rank 1 stays away; rank 0 is not left waiting for ever. */
  @Test
  void anExchangeThatNobodyJoinsIsAborted() throws Exception {
    List<String> messages =
        onRanks(
            new FakeNccl(2),
            2,
            Duration.ofMillis(1),
            (group, stream, rank) ->
                rank == 1
                    ? ""
                    : assertThrows(
                            KernelException.DeviceLost.class,
                            () -> exchange(group, stream, 0, Kind.ALL_REDUCE, 0))
                        .getMessage());
    assertTrue(messages.get(0).contains("rank 0, in all_reduce"), messages.get(0));
    assertTrue(messages.get(0).contains("not done after"), messages.get(0));
  }

  @Test
  void whoeverKnowsOfALostRankEndsTheExchangesOfTheOthers() throws Exception {
    onRanks(
        new FakeNccl(1),
        1,
        PATIENCE,
        (group, stream, rank) -> {
          group.abort("rank 3 on node-b is lost");
          KernelException failure = assertThrows(KernelException.DeviceLost.class, group::barrier);
          assertTrue(failure.getMessage().endsWith("rank 3 on node-b is lost"));
          return null;
        });
  }

  @Test
  void anExchangeOfAnotherGroupIsRefused() throws Exception {
    onRanks(
        new FakeNccl(1),
        1,
        PATIENCE,
        (group, stream, rank) -> {
          try (Memory memory = Memory.allocate(Device.CPU, 64)) {
            TensorRef row = TensorRef.in(memory, 0, DType.F32, 4);
            assertThrows(
                KernelException.InvalidArgument.class,
                () -> group.begin(stream, Collective.allReduce(Axis.DATA, 2, row)));
          }
          assertEquals(1, group.size(Axis.TENSOR));
          assertEquals(0, group.rank(Axis.TENSOR));
          return null;
        });
  }

  @Test
  void aProcessorHasNoNccl() {
    List<String> reasons = new ArrayList<>();
    try (Stream stream = Stream.open(Device.CPU, 1)) {
      assertTrue(
          NcclCollectives.open(stream, Map.of(), PATIENCE, reasons::add).isEmpty());
    }
    assertEquals(List.of("the device is no GPU"), reasons);
  }
}
