package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;

/**
 * Ranks that are processes, each connected with each. Rank r gets everybody's part r and adds in the order
 * of the ranks, as {@link LocalGroup} does, so the bits are the same; a rank sends what it would in a ring.
 */
final class TcpTransport implements Transport {
  private static final int HEADER = 32;
  private static final int SUM = 99; // the kind of numbers of the host

  private final List<Integer> ranks; // by their places in the group
  private final int rank; // this one's place
  private final TcpLink[] links; // by place; null at the rank itself
  private final IntFunction<RuntimeException> lost;
  private final ByteBuffer header = native64(HEADER);
  private final ByteBuffer theirs = native64(HEADER);
  private final PartSum sum = new PartSum();
  private volatile Throwable reason;

  /**
   * @param ranks of the group, by their places in it
   * @param rank this one
   * @param links connections by place
   * @param lost what to say when the connection to a rank ended
   */
  TcpTransport(
      List<Integer> ranks, int rank, TcpLink[] links, IntFunction<RuntimeException> lost) {
    this.ranks = ranks;
    this.rank = ranks.indexOf(rank);
    this.links = links;
    this.lost = lost;
  }

  private static ByteBuffer native64(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public int size() {
    return links.length;
  }

  @Override
  public int rank() {
    return rank;
  }

  /** Something with a connection; when that ends, says who is lost. */
  private interface Work {
    void with(TcpLink link, int other) throws IOException;
  }

  /** Does it with every other rank, in order. */
  private void each(Work work) {
    for (int other = 0; other < links.length; other++) {
      if (other != rank) {
        one(other, work);
      }
    }
  }

  private void one(int other, Work work) {
    try {
      work.with(links[other], other);
    } catch (IOException e) {
      Throwable known = reason;
      if (known != null) {
        throw new RankFailure(
            known instanceof RankFailure
                ? known.getMessage()
                : "rank " + ranks.get(rank) + ": " + known.getMessage(),
            known);
      }
      throw lost.apply(ranks.get(other));
    }
  }

  /** Every rank says what it is about to do; all must say the same. */
  private void agree(Object what, int kind, DType dtype, long elements, int root, long step) {
    int type = dtype == null ? -1 : dtype.ordinal();
    header.clear();
    header.putInt(kind).putInt(type).putLong(elements).putLong(root).putLong(step).flip();
    each((link, other) -> link.send(header.duplicate()));
    each(
        (link, other) -> {
          link.receive(theirs.clear());
          if (!theirs.flip().equals(header)) {
            int its = theirs.getInt(0);
            RankFailure failure =
                new RankFailure(
                    "rank %d has %s in step %d, rank %d has %s of %d elements in step %d"
                        .formatted(
                            ranks.get(rank),
                            what,
                            step,
                            ranks.get(other),
                            its == SUM ? "a sum of numbers" : Kind.values()[its],
                            theirs.getLong(8),
                            theirs.getLong(24)));
            abort(failure);
            throw failure;
          }
        });
    each((link, other) -> link.flush());
  }

  @Override
  public void exchange(Collective c, long step) {
    agree(c, c.kind().ordinal(), c.send().dtype(), c.send().elements(), c.root(), step);
    long send = c.send().address();
    long receive = c.receive().address();
    int size = c.send().dtype().bytes();
    switch (c.kind()) {
      case ALL_REDUCE -> {
        long n = c.send().elements();
        reduce(c.send().dtype(), send, n, send + first(n, rank) * size);
        long own = (first(n, rank + 1) - first(n, rank)) * size;
        each((link, other) -> link.send(send + first(n, rank) * size, own));
        each(
            (link, other) ->
                link.receive(
                    send + first(n, other) * size,
                    (first(n, other + 1) - first(n, other)) * size));
      }
      case REDUCE_SCATTER -> reduce(c.send().dtype(), send, c.send().elements(), receive);
      case ALL_GATHER -> {
        long part = c.sendBytes();
        each((link, other) -> link.send(send, part));
        each((link, other) -> link.receive(receive + other * part, part));
        copy(send, receive + rank * part, part);
      }
      case ALL_TO_ALL -> {
        long part = c.sendBytes() / links.length;
        if (c.counts() != null) {
          compare(c);
        }
        each((link, other) -> link.send(send + other * part, c.sentBytes(other)));
        each((link, other) -> link.receive(receive + other * part, c.receivedBytes(other)));
        copy(send + rank * part, receive + rank * part, c.receivedBytes(rank));
      }
      case BROADCAST -> {
        if (rank == c.root()) {
          each((link, other) -> link.send(send, c.sendBytes()));
        } else {
          one(c.root(), (link, other) -> link.receive(receive, c.sendBytes()));
        }
      }
    }
    each((link, other) -> link.flush());
  }

  /** Every rank says how much it sends to each other, which must be what that one waits for. */
  private void compare(Collective c) {
    each(
        (link, other) -> {
          ByteBuffer mine = native64(Long.BYTES);
          mine.putLong(c.sentBytes(other)).flip();
          link.send(mine);
        });
    each(
        (link, other) -> {
          ByteBuffer its = native64(Long.BYTES);
          link.receive(its);
          long sent = its.getLong(0);
          if (sent != c.receivedBytes(other)) {
            RankFailure failure =
                LocalGroup.counted(
                    ranks.get(rank), ranks.get(other), c.receivedBytes(other), sent);
            abort(failure);
            throw failure;
          }
        });
    each((link, other) -> link.flush());
  }

  private long first(long elements, int part) {
    return elements * part / links.length;
  }

  private static void copy(long from, long to, long bytes) {
    if (from != to) {
      HostExchange.copy(from, to, bytes);
    }
  }

  /** Sends everybody its part and sums this rank's. */
  private void reduce(DType dtype, long from, long elements, long to) {
    int size = dtype.bytes();
    each(
        (link, other) ->
            link.send(
                from + first(elements, other) * size,
                (first(elements, other + 1) - first(elements, other)) * size));
    long end = first(elements, rank + 1);
    for (long at = first(elements, rank); at < end; at += PartSum.PIECE) {
      int count = (int) Math.min(PartSum.PIECE, end - at);
      for (int other = 0; other < links.length; other++) {
        if (other == rank) {
          sum.add(Memory.hostView(from + at * size, count * size), dtype, count, other == 0);
        } else {
          ByteBuffer piece = sum.incoming(count * size);
          one(other, (link, its) -> link.receive(piece));
          sum.add(piece.flip(), dtype, count, other == 0);
        }
      }
      long place = to + (at - first(elements, rank)) * size;
      sum.store(Memory.hostView(place, count * size), dtype, count);
    }
  }

  @Override
  public void sum(double[] values, long step) {
    agree("a sum of numbers", SUM, null, values.length, 0, step);
    ByteBuffer mine = native64(values.length * Double.BYTES);
    mine.asDoubleBuffer().put(values);
    double[][] parts = new double[links.length][];
    parts[rank] = values.clone();
    each((link, other) -> link.send(mine.duplicate()));
    each(
        (link, other) -> {
          ByteBuffer its = native64(values.length * Double.BYTES);
          link.receive(its);
          parts[other] = new double[values.length];
          its.flip().order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer().get(parts[other]);
        });
    each((link, other) -> link.flush());
    Arrays.fill(values, 0);
    for (double[] part : parts) {
      for (int i = 0; i < values.length; i++) {
        values[i] += part[i];
      }
    }
  }

  @Override
  public void abort(Throwable why) {
    if (reason == null) {
      reason = why;
    }
    close();
  }

  @Override
  public void close() {
    for (TcpLink link : links) {
      if (link != null) {
        link.close();
      }
    }
  }
}
