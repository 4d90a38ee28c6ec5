package dev.caravan.kernels;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.LongStream;

/**
 * One exchange between the ranks of a group: every rank gives an equal one at the same place in its
 * order. Memory is the rank's own; N is the number of ranks, r the rank.
 *
 * @param kind what is exchanged
 * @param axis between which ranks
 * @param ranks N
 * @param send what the rank gives: [n] for ALL_REDUCE, ALL_GATHER and BROADCAST, [N n] for
 *     REDUCE_SCATTER and ALL_TO_ALL, as one row
 * @param receive what it gets, of send's dtype: [n], of ALL_GATHER and ALL_TO_ALL [N n]. It is send
 *     itself for ALL_REDUCE and BROADCAST; part r of the longer one may be the shorter one
 *     (REDUCE_SCATTER, ALL_GATHER); otherwise the two do not overlap
 * @param root who gives, of BROADCAST; else 0
 * @param counts how much of each part of an ALL_TO_ALL travels; null for all of it
 */
public record Collective(
    Kind kind,
    Axis axis,
    int ranks,
    TensorRef send,
    TensorRef receive,
    int root,
    Counts counts) {
  /** What ranks exchange. Sums are of float32, over the ranks in ascending order. */
  public enum Kind {
    /** Every rank gets the sum of all. */
    ALL_REDUCE,
    /** Rank r gets part r of the sum. */
    REDUCE_SCATTER,
    /** Every rank gets all, behind one another. */
    ALL_GATHER,
    /** Rank r gets part r of every rank. */
    ALL_TO_ALL,
    /** Every rank gets the root's. */
    BROADCAST;

    /** As in "all_reduce". */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Which ranks form a group. */
  public enum Axis {
    /** Those that see different examples and hold the same part of the model. */
    DATA,
    /** Those that see the same examples and hold different parts of each matrix. */
    TENSOR,
    /** Those among DATA that together hold all experts, each its own. */
    EXPERT,
    /** Those among DATA that hold the same experts. */
    REPLICA,
    /** All. */
    WORLD;

    /** As in "data". */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * How many leading elements of each part travel; those behind them are left alone.
   *
   * @param sent to each rank
   * @param received from each rank; what that one sends to this one
   */
  public record Counts(long[] sent, long[] received) {
    private boolean fit(int ranks, long part) {
      return sent.length == ranks
          && received.length == ranks
          && LongStream.concat(LongStream.of(sent), LongStream.of(received))
              .allMatch(count -> count >= 0 && count <= part);
    }
  }

  /** Of whole parts. */
  public Collective(
      Kind kind, Axis axis, int ranks, TensorRef send, TensorRef receive, int root) {
    this(kind, axis, ranks, send, receive, root, null);
  }

  /**
   * Checks that the shapes fit together.
   *
   * @throws KernelException.InvalidArgument if they do not
   */
  public Collective {
    long sent = send.elements();
    long got = receive.elements();
    boolean fits =
        send.dtype() == receive.dtype()
            && switch (kind) {
              case ALL_REDUCE, BROADCAST -> send.address() == receive.address() && sent == got;
              case REDUCE_SCATTER -> sent == ranks * got;
              case ALL_GATHER -> got == ranks * sent;
              case ALL_TO_ALL -> sent == got && sent % ranks == 0;
            };
    boolean sums = kind == Kind.ALL_REDUCE || kind == Kind.REDUCE_SCATTER;
    if (!fits || ranks < 1 || root < 0 || root >= ranks) {
      throw KernelException.invalid(
          "%s over %d ranks: got %s [%d] to send and %s [%d] to receive, root %d"
              .formatted(kind, ranks, send.dtype(), sent, receive.dtype(), got, root));
    }
    if (counts != null && (kind != Kind.ALL_TO_ALL || !counts.fit(ranks, sent / ranks))) {
      throw KernelException.invalid(
          "%s over %d ranks: got counts %s and %s of parts of %d elements"
              .formatted(
                  kind,
                  ranks,
                  Arrays.toString(counts.sent),
                  Arrays.toString(counts.received),
                  sent / ranks));
    }
    if (sums && send.dtype() != DType.F32 && send.dtype() != DType.BF16) {
      throw KernelException.invalid(kind + ": got " + send.dtype() + ", needs a float dtype");
    }
  }

  /** A sum of a range in place. */
  public static Collective allReduce(Axis axis, int ranks, TensorRef range) {
    return new Collective(Kind.ALL_REDUCE, axis, ranks, range, range, 0);
  }

  /** Bytes that the rank gives. A view may claim more than its elements. */
  public long sendBytes() {
    return send.elements() * send.dtype().bytes();
  }

  /** Bytes that the rank gets. */
  public long receiveBytes() {
    return receive.elements() * receive.dtype().bytes();
  }

  /** Bytes that go to a rank in an ALL_TO_ALL. */
  public long sentBytes(int rank) {
    return counts == null ? sendBytes() / ranks : counts.sent[rank] * send.dtype().bytes();
  }

  /** Bytes that come from a rank in an ALL_TO_ALL. */
  public long receivedBytes(int rank) {
    return counts == null ? sendBytes() / ranks : counts.received[rank] * send.dtype().bytes();
  }

  /** Whether another rank's exchange is the same one. */
  public boolean matches(Collective other) {
    return kind == other.kind
        && axis == other.axis
        && ranks == other.ranks
        && root == other.root
        && (counts == null) == (other.counts == null)
        && send.dtype() == other.send.dtype()
        && send.elements() == other.send.elements();
  }

  /**
   * Bytes that one rank sends, as rings do it; of a broadcast, what the root's ring passes on.
   *
   * @param kind of exchange
   * @param ranks N
   * @param bytes of the longer side
   */
  public static long wireBytes(Kind kind, int ranks, long bytes) {
    return switch (kind) {
      case ALL_REDUCE -> 2 * (bytes - bytes / ranks);
      case REDUCE_SCATTER, ALL_GATHER, ALL_TO_ALL, BROADCAST -> bytes - bytes / ranks;
    };
  }

  /** As in "all_reduce of F32 [4096] over data". */
  @Override
  public String toString() {
    return kind + " of " + send.dtype() + " [" + send.elements() + "] over " + axis;
  }
}
