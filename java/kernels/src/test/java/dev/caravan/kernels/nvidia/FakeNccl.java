package dev.caravan.kernels.nvidia;

import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * NCCL's functions as its reference describes them, between threads and on host memory: an exchange waits
 * for all ranks. The ranks of a group share one of these.
 */
final class FakeNccl {
  private final int ranks;
  private final long[] addresses;
  private final List<Map<Integer, Long>> sent = new ArrayList<>();
  private final List<Map<Integer, Long>> sentBytes = new ArrayList<>();
  private int waiting;
  private long meetings;
  private boolean ended;

  FakeNccl(int ranks) {
    this.ranks = ranks;
    addresses = new long[ranks];
    for (int rank = 0; rank < ranks; rank++) {
      sent.add(new HashMap<>());
      sentBytes.add(new HashMap<>());
    }
  }

  /** Waits until all ranks are here, or one has aborted. */
  private synchronized void meet() {
    long meeting = meetings;
    if (++waiting == ranks) {
      waiting = 0;
      meetings++;
      notifyAll();
    }
    while (meeting == meetings && !ended) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw KernelException.lost("interrupted");
      }
    }
    if (meeting == meetings) {
      throw KernelException.lost("aborted");
    }
  }

  private synchronized void end() {
    ended = true;
    notifyAll();
  }

  /** What one rank calls. */
  Rank rank(int rank) {
    return new Rank(rank);
  }

  /** One rank's library; it notes its calls. */
  final class Rank implements NcclLibrary {
    private final int rank;
    private final List<String> calls = new ArrayList<>();
    private final Map<Integer, Long> wanted = new HashMap<>();
    private final Map<Integer, Long> wantedBytes = new HashMap<>();
    volatile String failure = "";
    volatile boolean aborted;
    volatile boolean left;

    private Rank(int rank) {
      this.rank = rank;
    }

    /** Names of calls in order. */
    List<String> calls() {
      return List.copyOf(calls);
    }

    private ByteBuffer at(long address, long bytes) {
      return Memory.hostView(address, Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
    }

    private void offer(String name, long address) {
      calls.add(name);
      if (!failure.isEmpty()) {
        throw KernelException.lost(name + ": " + failure);
      }
      addresses[rank] = address;
      meet();
    }

    @Override
    public byte[] newId() {
      return new byte[128];
    }

    @Override
    public long join(byte[] id, int count, int place) {
      if (count != ranks || place != rank || id.length != 128) {
        throw new IllegalArgumentException("joined as " + place + " of " + count);
      }
      meet();
      return 17;
    }

    private float[] sum(long count, long skip) {
      float[] sum = new float[(int) count];
      for (long address : addresses) {
        ByteBuffer values = at(address + skip * Float.BYTES, count * Float.BYTES);
        for (int i = 0; i < count; i++) {
          sum[i] += values.getFloat(i * Float.BYTES);
        }
      }
      return sum;
    }

    private void reduce(String name, long send, long receive, long count, int type, long skip) {
      if (type != FLOAT32) {
        throw new IllegalArgumentException("type " + type);
      }
      offer(name, send);
      float[] sum = sum(count, skip);
      meet(); // all have read
      at(receive, count * Float.BYTES).asFloatBuffer().put(sum);
      meet();
    }

    @Override
    public void allReduce(
        long send, long receive, long count, int type, long group, long stream) {
      reduce("allReduce", send, receive, count, type, 0);
    }

    @Override
    public void reduceScatter(
        long send, long receive, long count, int type, long group, long stream) {
      reduce("reduceScatter", send, receive, count, type, rank * count);
    }

    @Override
    public void allGather(
        long send, long receive, long count, int type, long group, long stream) {
      offer("allGather", send);
      for (int peer = 0; peer < ranks; peer++) {
        byte[] part = new byte[(int) count];
        at(addresses[peer], count).get(part);
        at(receive + peer * count, count).put(part);
      }
      meet();
    }

    @Override
    public void broadcast(
        long send, long receive, long count, int type, int root, long group, long stream) {
      offer("broadcast", send);
      byte[] all = new byte[(int) count];
      at(addresses[root], count).get(all);
      meet();
      at(receive, count).put(all);
      meet();
    }

    @Override
    public void send(long from, long count, int type, int peer, long group, long stream) {
      calls.add("send");
      sent.get(rank).put(peer, from);
      sentBytes.get(rank).put(peer, count);
    }

    @Override
    public void receive(long to, long count, int type, int peer, long group, long stream) {
      calls.add("receive");
      wanted.put(peer, to);
      wantedBytes.put(peer, count);
    }

    @Override
    public void beginCalls() {
      calls.add("begin");
    }

    @Override
    public void endCalls() {
      calls.add("end");
      if (wanted.isEmpty()) {
        return;
      }
      meet();
      wanted.forEach(
          (peer, to) -> {
            long bytes = wantedBytes.get(peer);
            if (bytes != sentBytes.get(peer).get(rank)) {
              throw new IllegalStateException(
                  rank + " waits for " + bytes + " bytes of " + peer + ", which sends others");
            }
            byte[] part = new byte[(int) bytes];
            at(sent.get(peer).get(rank), bytes).get(part);
            at(to, bytes).put(part);
          });
      wanted.clear();
      meet();
    }

    @Override
    public String failure(long group) {
      return failure;
    }

    @Override
    public void abort(long group) {
      aborted = true;
      end();
    }

    @Override
    public void leave(long group) {
      left = true;
    }
  }
}
