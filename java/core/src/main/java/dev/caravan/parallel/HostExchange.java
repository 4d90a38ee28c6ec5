package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteBuffer;

/**
 * What one rank does in an exchange between memories that it can all reach. It moves pieces that fit the
 * first cache through arrays, which the JVM's compiler turns into vector instructions.
 */
final class HostExchange {
  private static final int PIECE = 4096; // elements

  private final float[] sum = new float[PIECE];
  private final float[] part = new float[PIECE];
  private final short[] halves = new short[PIECE];

  /** Does rank {@code rank}'s share of an exchange, of which every rank has given its memory. */
  void run(Collective[] given, int rank) {
    Collective mine = given[rank];
    int ranks = given.length;
    switch (mine.kind()) {
      case ALL_REDUCE -> {
        long n = mine.send().elements();
        reduce(given, n * rank / ranks, n * (rank + 1) / ranks, null);
      }
      case REDUCE_SCATTER -> {
        long n = mine.receive().elements();
        reduce(given, n * rank, n * (rank + 1), mine.receive());
      }
      case ALL_GATHER -> {
        for (int from = 0; from < ranks; from++) {
          long bytes = mine.sendBytes();
          copy(given[from].send().address(), mine.receive().address() + from * bytes, bytes);
        }
      }
      case ALL_TO_ALL -> {
        for (int from = 0; from < ranks; from++) {
          long bytes = mine.sendBytes() / ranks;
          copy(
              given[from].send().address() + rank * bytes,
              mine.receive().address() + from * bytes,
              bytes);
        }
      }
      case BROADCAST ->
          copy(
              given[mine.root()].send().address(),
              mine.receive().address(),
              mine.receiveBytes());
    }
  }

  /** Sums elements of all ranks, to {@code to} or, where that is null, to all of them. */
  private void reduce(Collective[] given, long first, long end, TensorRef to) {
    DType dtype = given[0].send().dtype();
    int size = dtype.bytes();
    for (long at = first; at < end; at += PIECE) {
      int count = (int) Math.min(PIECE, end - at);
      read(given[0].send().address() + at * size, dtype, count, sum);
      for (int rank = 1; rank < given.length; rank++) {
        read(given[rank].send().address() + at * size, dtype, count, part);
        for (int i = 0; i < count; i++) {
          sum[i] += part[i];
        }
      }
      if (to != null) {
        write(to.address() + (at - first) * size, dtype, count);
      } else {
        for (Collective each : given) {
          write(each.receive().address() + at * size, dtype, count);
        }
      }
    }
  }

  private void read(long address, DType dtype, int count, float[] to) {
    ByteBuffer view = Memory.hostView(address, count * dtype.bytes());
    if (dtype == DType.F32) {
      view.asFloatBuffer().get(to, 0, count);
      return;
    }
    view.asShortBuffer().get(halves, 0, count);
    for (int i = 0; i < count; i++) {
      to[i] = Float.intBitsToFloat(halves[i] << 16);
    }
  }

  private void write(long address, DType dtype, int count) {
    ByteBuffer view = Memory.hostView(address, count * dtype.bytes());
    if (dtype == DType.F32) {
      view.asFloatBuffer().put(sum, 0, count);
      return;
    }
    for (int i = 0; i < count; i++) { // to nearest, ties to even; a NaN stays one
      int bits = Float.floatToRawIntBits(sum[i]);
      boolean nan = Float.isNaN(sum[i]);
      halves[i] = (short) ((nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    view.asShortBuffer().put(halves, 0, count);
  }

  private static void copy(long from, long to, long bytes) {
    long most = 1L << 30;
    for (long at = 0; from != to && at < bytes; at += most) {
      int count = (int) Math.min(most, bytes - at);
      Memory.hostView(to + at, count).put(Memory.hostView(from + at, count));
    }
  }
}
