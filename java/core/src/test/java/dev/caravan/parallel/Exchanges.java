package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.Arrays;
import java.util.Random;
import java.util.function.BiConsumer;
import java.util.stream.LongStream;

/** Exchanges of random numbers, and what every rank should get. */
final class Exchanges {
  /** Bytes behind a tensor that nothing may touch, though its view reaches so far. */
  private static final int BEHIND = 64;

  private Exchanges() {}

  /** What rank {@code rank} sends: long enough for the kinds that send N parts. */
  private static float[] values(int rank, int count) {
    Random random = new Random(31 + rank);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static int sent(Kind kind, int ranks, int part) {
    return kind == Kind.REDUCE_SCATTER || kind == Kind.ALL_TO_ALL ? ranks * part : part;
  }

  private static int received(Kind kind, int ranks, int part) {
    return kind == Kind.ALL_GATHER || kind == Kind.ALL_TO_ALL ? ranks * part : part;
  }

  /**
   * Does an exchange twice over and gives what each rank got in the second.
   *
   * @param launcher runs a body on every rank
   */
  static float[][] run(
      BiConsumer<Integer, RankThreads.Body<Object>> launcher,
      Kind kind,
      int ranks,
      int part,
      int root) {
    float[][] got = new float[ranks][];
    launcher.accept(
        ranks,
        end -> {
          int rank = end.rank(Axis.DATA);
          int sent = sent(kind, ranks, part);
          int received = received(kind, ranks, part);
          boolean inPlace = kind == Kind.ALL_REDUCE || kind == Kind.BROADCAST;
          try (Stream stream = Stream.open(Device.CPU, 1);
              Memory from = Memory.allocate(Device.CPU, 4L * sent + BEHIND);
              Memory to = Memory.allocate(Device.CPU, 4L * received + BEHIND)) {
            TensorRef send = TensorRef.in(from, 0, DType.F32, sent);
            TensorRef receive = inPlace ? send : TensorRef.in(to, 0, DType.F32, received);
            for (int time = 0; time < 2; time++) {
              from.view(0, 4 * sent).asFloatBuffer().put(values(rank, sent));
              to.view(0, 4 * received).asFloatBuffer().put(new float[received]);
              from.view(4 * sent, BEHIND).put(0, (byte) 7);
              to.view(4 * received, BEHIND).put(0, (byte) 7);
              if (ranks > 1) {
                end.begin(stream, new Collective(kind, Axis.DATA, ranks, send, receive, root));
                end.join(stream, Axis.DATA);
              } else {
                to.view(0, 4 * received).put(from.view(0, 4 * sent));
              }
              end.barrier();
              boolean kept = from.view(4 * sent, 1).get(0) == 7 && to.view(4 * received, 1).get(0) == 7;
              if (!kept) {
                throw new AssertionError(kind + " writes behind its memory");
              }
            }
            got[rank] = new float[received];
            (inPlace ? from : to).view(0, 4 * received).asFloatBuffer().get(got[rank]);
          }
          return null;
        });
    return got;
  }

  /** Elements that rank {@code from} sends to another in a counted all-to-all: none, some, all. */
  private static long count(int from, int to, int part) {
    return (from + 2 * to) % 3 * (long) part / 2;
  }

  /**
   * All-to-all of counted elements, of parts of {@code part} each; what does not come is -1.
   *
   * @param launcher runs a body on every rank
   * @param lie added to what rank 1 awaits of rank 0
   */
  static float[][] counted(
      BiConsumer<Integer, RankThreads.Body<Object>> launcher, int ranks, int part, long lie) {
    float[][] got = new float[ranks][ranks * part];
    launcher.accept(
        ranks,
        end -> {
          int rank = end.rank(Axis.DATA);
          int all = ranks * part;
          long[] sent = LongStream.range(0, ranks).map(to -> count(rank, (int) to, part)).toArray();
          long[] received =
              LongStream.range(0, ranks).map(from -> count((int) from, rank, part)).toArray();
          received[0] += rank == 1 ? lie : 0;
          try (Stream stream = Stream.open(Device.CPU, 1);
              Memory from = Memory.allocate(Device.CPU, 4L * all);
              Memory to = Memory.allocate(Device.CPU, 4L * all)) {
            Arrays.fill(got[rank], -1);
            from.view(0, 4 * all).asFloatBuffer().put(values(rank, all));
            to.view(0, 4 * all).asFloatBuffer().put(got[rank]);
            end.begin(
                stream,
                new Collective(
                    Kind.ALL_TO_ALL,
                    Axis.DATA,
                    ranks,
                    TensorRef.in(from, 0, DType.F32, all),
                    TensorRef.in(to, 0, DType.F32, all),
                    0,
                    new Collective.Counts(sent, received)));
            end.join(stream, Axis.DATA);
            end.barrier();
            to.view(0, 4 * all).asFloatBuffer().get(got[rank]);
          }
          return null;
        });
    return got;
  }

  /** What a rank should get of counted elements. */
  static float[] expectedCounted(int ranks, int part, int rank) {
    float[] all = new float[ranks * part];
    Arrays.fill(all, -1);
    for (int from = 0; from < ranks; from++) {
      int count = (int) count(from, rank, part);
      System.arraycopy(values(from, ranks * part), rank * part, all, from * part, count);
    }
    return all;
  }

  /** What a rank should get. */
  static float[] expected(Kind kind, int ranks, int part, int root, int rank) {
    int sent = sent(kind, ranks, part);
    float[] sum = values(0, sent);
    float[] all = new float[ranks * part];
    for (int from = 0; from < ranks; from++) {
      float[] values = values(from, sent);
      for (int i = 0; from > 0 && i < sent; i++) {
        sum[i] += values[i];
      }
      int first = kind == Kind.ALL_TO_ALL ? rank * part : 0;
      System.arraycopy(values, first, all, from * part, part);
    }
    return switch (kind) {
      case ALL_REDUCE -> sum;
      case REDUCE_SCATTER -> Arrays.copyOfRange(sum, rank * part, (rank + 1) * part);
      case ALL_GATHER, ALL_TO_ALL -> all;
      case BROADCAST -> values(root, part);
    };
  }
}
