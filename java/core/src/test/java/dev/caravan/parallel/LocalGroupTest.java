package dev.caravan.parallel;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Exchanges between threads, against what they should give. */
class LocalGroupTest {
  /** Elements of a part: more than one piece, and no multiple of anything. */
  private static final int PART = 5003;

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void everyExchangeGivesWhatItsNameSays(int ranks) {
    for (Kind kind : Kind.values()) {
      for (int root = 0; root < (kind == Kind.BROADCAST ? ranks : 1); root++) {
        float[][] got = Exchanges.run(LocalGroupTest::threads, kind, ranks, PART, root);
        for (int rank = 0; rank < ranks; rank++) {
          assertArrayEquals(
              Exchanges.expected(kind, ranks, PART, root, rank),
              got[rank],
              kind + ", rank " + rank + " of " + ranks);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void countedElementsComeAlone(int ranks) {
    float[][] got = Exchanges.counted(LocalGroupTest::threads, ranks, PART - 1, 0);
    for (int rank = 0; rank < ranks; rank++) {
      assertArrayEquals(
          Exchanges.expectedCounted(ranks, PART - 1, rank), got[rank], "rank " + rank);
    }
  }

  @Test
  void countsThatDoNotAgreeAreNamed() {
    RankFailure failure =
        assertThrows(
            RankFailure.class, () -> Exchanges.counted(LocalGroupTest::threads, 2, 10, -1));
    assertTrue(
        failure.getMessage().contains("rank 1 waits for 36 bytes of rank 0, which sends 40"),
        failure.getMessage());
  }

  @Test
  void onlyAnAllToAllIsCounted() {
    TensorRef row = TensorRef.of(64, DType.F32, 4);
    Collective.Counts counts = new Collective.Counts(new long[2], new long[2]);
    for (Kind kind : List.of(Kind.ALL_REDUCE, Kind.ALL_TO_ALL)) {
      TensorRef to = kind == Kind.ALL_REDUCE ? row : TensorRef.of(128, DType.F32, 4);
      Collective.Counts many = new Collective.Counts(new long[] {3, 0}, new long[2]);
      assertThrows(
          KernelException.class,
          () ->
              new Collective(
                  kind, Axis.DATA, 2, row, to, 0, kind == Kind.ALL_REDUCE ? counts : many));
    }
  }

  private static void threads(int ranks, RankThreads.Body<Object> body) {
    RankThreads.run(new Mesh(ranks, 1), body);
  }

  /** The sum is of float32 in the order of the ranks, rounded once. */
  @Test
  void bfloat16IsSummedInFloat32() {
    float[] values = {1f, 0.00390625f, 0.00390625f}; // in bfloat16, 1 + 2^-8 alone would give 1
    short[] sums = new short[3];
    RankThreads.run(
        new Mesh(3, 1),
        end -> {
          int rank = end.rank(Axis.DATA);
          try (Stream stream = Stream.open(Device.CPU, 1);
              Memory memory = Memory.allocate(Device.CPU, 2)) {
            memory
                .view(0, 2)
                .putShort(0, (short) (Float.floatToRawIntBits(values[rank]) >> 16));
            TensorRef all = TensorRef.in(memory, 0, DType.BF16, 1);
            end.begin(stream, Collective.allReduce(Axis.DATA, 3, all));
            end.join(stream, Axis.DATA);
            sums[rank] = memory.view(0, 2).getShort(0);
          }
          return null;
        });
    short expected = (short) (Float.floatToRawIntBits(1.0078125f) >> 16);
    assertArrayEquals(new short[] {expected, expected, expected}, sums);
  }

  /** What each rank gets as the sum of the ranks of each of its groups, by axis. */
  static double[][] groupSums(Consumer<RankThreads.Body<Object>> ranks, Mesh mesh) {
    double[][] sums = new double[mesh.size()][];
    ranks.accept(
        end -> {
          int rank = end.rank(Axis.WORLD);
          double[] own = new double[Axis.values().length];
          for (Axis axis : Axis.values()) {
            double[] value = {rank};
            end.sum(axis, value);
            own[axis.ordinal()] = value[0];
            assertEquals(rank, mesh.group(axis, rank).get(end.rank(axis)));
          }
          sums[rank] = own;
          return null;
        });
    return sums;
  }

  @Test
  void ranksFormGroupsAlongEachAxis() {
    Mesh mesh = new Mesh(4, 3, 2);
    double[][] sums = groupSums(body -> RankThreads.run(mesh, body), mesh);
    for (int rank = 0; rank < 12; rank++) {
      int d = rank / 3;
      int t = rank % 3;
      double[] expected = new double[Axis.values().length];
      expected[Axis.DATA.ordinal()] = 3 * (0 + 1 + 2 + 3) + 4 * t;
      expected[Axis.TENSOR.ordinal()] = 3 * (3 * d) + 3;
      expected[Axis.EXPERT.ordinal()] = 3 * (2 * (d / 2) + 2 * (d / 2) + 1) + 2 * t;
      expected[Axis.REPLICA.ordinal()] = 3 * (d % 2 + d % 2 + 2) + 2 * t;
      expected[Axis.WORLD.ordinal()] = 66;
      assertArrayEquals(expected, sums[rank], "rank " + rank);
    }
  }

  @Test
  void expertRanksThatDoNotDivideTheDataRanksAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> new Mesh(4, 1, 3));
  }

  @Test
  void aRankThatFailsWakesTheOthersAndIsNamed() {
    AtomicInteger woken = new AtomicInteger();
    IllegalStateException failure =
        assertThrows(
            IllegalStateException.class,
            () ->
                RankThreads.run(
                    new Mesh(3, 1),
                    end -> {
                      end.at(7);
                      if (end.rank(Axis.DATA) == 1) {
                        throw new IllegalStateException("no more");
                      }
                      RankFailure told = assertThrows(RankFailure.class, end::barrier);
                      assertTrue(
                          told.getMessage().endsWith("in step 7: rank 1 failed: no more"),
                          told.getMessage());
                      woken.incrementAndGet();
                      throw told;
                    }));
    assertEquals("no more", failure.getMessage());
    assertEquals(2, woken.get());
  }

  @Test
  void aRankThatDoesNotComeIsNamed() {
    RankFailure failure =
        assertThrows(
            RankFailure.class,
            () ->
                RankThreads.run(
                    new Mesh(3, 1),
                    Duration.ofMillis(50),
                    end -> {
                      end.at(4);
                      if (end.rank(Axis.DATA) != 2) {
                        end.sum(Axis.DATA, new double[1]);
                      }
                      return null;
                    }));
    assertTrue(
        failure.getMessage().contains("data group: rank 2 did not come to a sum of numbers in step 4"),
        failure.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"64, 65", "64, -1"})
  void ranksThatDoDifferentThingsAreNamed(int one, int other) {
    RankFailure failure =
        assertThrows(
            RankFailure.class,
            () ->
                RankThreads.run(
                    new Mesh(2, 1),
                    end -> {
                      int count = end.rank(Axis.DATA) == 0 ? one : other;
                      if (count < 0) {
                        end.sum(Axis.DATA, new double[1]);
                        return null;
                      }
                      try (Stream stream = Stream.open(Device.CPU, 1);
                          Memory memory = Memory.allocate(Device.CPU, 4L * count)) {
                        TensorRef all = TensorRef.in(memory, 0, DType.F32, count);
                        end.begin(stream, Collective.allReduce(Axis.DATA, 2, all));
                        end.join(stream, Axis.DATA);
                      }
                      return null;
                    }));
    assertTrue(failure.getMessage().contains("all_reduce of F32 [64]"), failure.getMessage());
    assertTrue(
        failure.getMessage().contains(other < 0 ? "a sum of numbers" : "[65]"),
        failure.getMessage());
  }

  @Test
  void shapesThatDoNotFitAreRefused() {
    TensorRef four = TensorRef.of(256, DType.F32, 4);
    TensorRef three = TensorRef.of(512, DType.F32, 3);
    assertThrows(
        KernelException.InvalidArgument.class,
        () -> new Collective(Kind.REDUCE_SCATTER, Axis.DATA, 2, four, three, 0));
    assertThrows(
        KernelException.InvalidArgument.class,
        () -> new Collective(Kind.BROADCAST, Axis.DATA, 2, four, four, 2));
    assertThrows(
        KernelException.InvalidArgument.class,
        () -> Collective.allReduce(Axis.DATA, 2, TensorRef.of(256, DType.I32, 4)));
  }

  @Test
  void bytesOnTheWireAreThoseOfRings() {
    assertEquals(2 * 750, Collective.wireBytes(Kind.ALL_REDUCE, 4, 1000));
    assertEquals(750, Collective.wireBytes(Kind.REDUCE_SCATTER, 4, 1000));
    assertEquals(0, Collective.wireBytes(Kind.ALL_GATHER, 1, 1000));
  }

  /** One rank needs no end of a group. */
  @Test
  void oneRankExchangesNothing() {
    double[] values = {3};
    Collectives.ALONE.sum(Axis.WORLD, values);
    assertEquals(3, values[0]);
    TensorRef range = TensorRef.of(256, DType.F32, 4);
    assertThrows(
        KernelException.InvalidArgument.class,
        () -> Collectives.ALONE.begin(null, Collective.allReduce(Axis.DATA, 1, range)));
  }
}
