package dev.caravan.kernels.nvidia;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Event;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import java.util.List;

/**
 * One rank's end of one group: a stream on which the group's exchanges run in order, beside the rank's own
 * work. Events tie both together, so that what is recorded for replay has the exchanges in it.
 */
final class NcclGroup implements AutoCloseable {
  /** Exchanges whose ends are told apart; to wait for an older one is to wait for the oldest of these. */
  private static final int EVENTS = 64;

  private final NcclLibrary library;
  private final int ranks;
  private final int rank;
  private final Stream stream;
  private final long nativeStream;
  private final long handle;
  private final Event before;
  private final Event[] ends = new Event[EVENTS];
  private long begun;
  private boolean aborted;

  NcclGroup(NcclLibrary library, Stream work, byte[] id, int ranks, int rank) {
    this.library = library;
    this.ranks = ranks;
    this.rank = rank;
    stream = Stream.open(work.device(), 1);
    nativeStream = stream.nativeHandle();
    before = Event.open(work.device());
    for (int i = 0; i < EVENTS; i++) {
      ends[i] = Event.open(work.device());
    }
    work.synchronize(); // makes the device current on this thread, by our runtime
    handle = library.join(id, ranks, rank);
  }

  int ranks() {
    return ranks;
  }

  int rank() {
    return rank;
  }

  Stream stream() {
    return stream;
  }

  /** Begins exchanges, several as one launch, behind the work that was given so far. */
  long begin(Stream work, List<Collective> exchanges) {
    before.record(work);
    stream.await(before);
    if (exchanges.size() == 1) {
      launch(exchanges.get(0));
    } else {
      together(() -> exchanges.forEach(this::launch));
    }
    ends[(int) (begun % EVENTS)].record(stream);
    return begun++;
  }

  private void together(Runnable calls) {
    library.beginCalls();
    try {
      calls.run();
    } finally {
      library.endCalls();
    }
  }

  private void launch(Collective c) {
    long from = c.send().address();
    long to = c.receive().address();
    switch (c.kind()) {
      case ALL_REDUCE ->
          library.allReduce(from, to, c.send().elements(), type(c), handle, nativeStream);
      case REDUCE_SCATTER ->
          library.reduceScatter(from, to, c.receive().elements(), type(c), handle, nativeStream);
      case ALL_GATHER ->
          library.allGather(from, to, c.sendBytes(), NcclLibrary.INT8, handle, nativeStream);
      case BROADCAST ->
          library.broadcast(
              from, to, c.sendBytes(), NcclLibrary.INT8, c.root(), handle, nativeStream);
      case ALL_TO_ALL -> {
        long part = c.sendBytes() / ranks;
        together(
            () -> {
              for (int peer = 0; peer < ranks; peer++) {
                long at = peer * part;
                long out = c.sentBytes(peer);
                long in = c.receivedBytes(peer);
                library.send(from + at, out, NcclLibrary.INT8, peer, handle, nativeStream);
                library.receive(to + at, in, NcclLibrary.INT8, peer, handle, nativeStream);
              }
            });
      }
    }
  }

  /** What is summed has a type; the rest are bytes. */
  private static int type(Collective c) {
    return c.send().dtype() == DType.F32 ? NcclLibrary.FLOAT32 : NcclLibrary.BFLOAT16;
  }

  /** Lets work wait for an exchange and those before it. */
  void join(Stream work, long ticket) {
    if (begun == 0) {
      return;
    }
    long oldest = Math.max(0, begun - EVENTS);
    long known = Math.max(oldest, Math.min(ticket, begun - 1));
    work.await(ends[(int) (known % EVENTS)]);
  }

  /** Gathers bytes of every rank on the group's own stream; the caller waits for it. */
  void gather(long from, long to, long bytes) {
    library.allGather(from, to, bytes, NcclLibrary.INT8, handle, nativeStream);
  }

  synchronized String failure() {
    return aborted ? "" : library.failure(handle);
  }

  synchronized void abort() {
    if (!aborted) {
      aborted = true;
      library.abort(handle);
    }
  }

  @Override
  public synchronized void close() {
    if (!aborted) {
      aborted = true;
      try {
        stream.synchronize();
      } catch (KernelException e) {
        // The device has failed, which its own stream tells; the group is left all the same.
      }
      library.leave(handle);
    }
    for (Event end : ends) {
      end.close();
    }
    before.close();
    stream.close();
  }
}
