package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.TensorRef;

/** What one rank does in an exchange between memories that it can all reach. */
final class HostExchange {
  private final PartSum sum = new PartSum();

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
              mine.receivedBytes(from));
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
    for (long at = first; at < end; at += PartSum.PIECE) {
      int count = (int) Math.min(PartSum.PIECE, end - at);
      for (int rank = 0; rank < given.length; rank++) {
        long address = given[rank].send().address() + at * size;
        sum.add(Memory.hostView(address, count * size), dtype, count, rank == 0);
      }
      if (to != null) {
        store(to.address() + (at - first) * size, dtype, count);
      } else {
        for (Collective each : given) {
          store(each.receive().address() + at * size, dtype, count);
        }
      }
    }
  }

  private void store(long address, DType dtype, int count) {
    sum.store(Memory.hostView(address, count * dtype.bytes()), dtype, count);
  }

  /** Copies memory of the host. */
  static void copy(long from, long to, long bytes) {
    long most = 1L << 30;
    for (long at = 0; from != to && at < bytes; at += most) {
      int count = (int) Math.min(most, bytes - at);
      Memory.hostView(to + at, count).put(Memory.hostView(from + at, count));
    }
  }
}
