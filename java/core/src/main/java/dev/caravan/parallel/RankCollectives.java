package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;
import java.util.EnumMap;
import java.util.Map;

/** One rank's end of its groups on the CPU: a thread for each group does the exchanges in order. */
final class RankCollectives implements Collectives {
  private final Map<Axis, ExchangeQueue> queues = new EnumMap<>(Axis.class);
  private volatile long step;
  private volatile Collective latest;
  private volatile Carrier carrier;
  private volatile long summingSince; // when a sum of the host's numbers began; 0 for none

  /**
   * @param transports to the rank's group on every axis
   */
  RankCollectives(Map<Axis, Transport> transports) {
    String name = "rank-" + transports.get(Axis.WORLD).rank() + "-";
    for (Axis axis : Axis.values()) {
      queues.put(axis, new ExchangeQueue(name + axis, transports.get(axis)));
    }
  }

  @Override
  public int size(Axis axis) {
    return queues.get(axis).transport().size();
  }

  @Override
  public int rank(Axis axis) {
    return queues.get(axis).transport().rank();
  }

  /** A stream of the CPU has done its work when it returns. */
  @Override
  public long begin(Stream stream, Collective collective) {
    if (stream.device().kind() != Device.Kind.CPU) {
      throw KernelException.unsupported(
          collective + ": ranks on " + stream.device().kind() + " exchange by a library of their own");
    }
    if (collective.ranks() != size(collective.axis())) {
      throw KernelException.invalid(
          collective + ": the group has " + size(collective.axis()) + " ranks");
    }
    latest = collective;
    return queues.get(collective.axis()).put(collective, step);
  }

  @Override
  public void join(Stream stream, Axis axis, long ticket) {
    queues.get(axis).await(ticket);
  }

  @Override
  public void sum(Axis axis, double[] values) {
    ExchangeQueue queue = queues.get(axis);
    queue.await(Long.MAX_VALUE);
    if (queue.transport().size() > 1) {
      summingSince = System.nanoTime();
      try {
        queue.transport().sum(values, step);
      } finally {
        summingSince = 0;
      }
    }
  }

  @Override
  public void at(long number) {
    step = number;
  }

  /** What the rank was last in, for errors. */
  String position() {
    Carrier other = carrier;
    if (other != null && summingSince == 0) {
      return other.position();
    }
    Collective known = latest;
    if (summingSince != 0) {
      return "a sum of numbers in step " + step + (known == null ? "" : ", behind " + known);
    }
    return known == null ? "the start" : known + " in step " + step;
  }

  /** For how many milliseconds an exchange, or a sum of numbers, has been under way; 0 if none is. */
  long stuckFor() {
    long since = summingSince;
    long sum = since == 0 ? 0 : (System.nanoTime() - since) / 1_000_000;
    return Math.max(
        sum, queues.values().stream().mapToLong(ExchangeQueue::busyMillis).max().orElse(0));
  }

  @Override
  public void carriedBy(Carrier other) {
    carrier = other;
  }

  /** Wakes all ranks of its groups with the reason. */
  void abort(Throwable reason) {
    queues.values().forEach(queue -> queue.transport().abort(reason));
    Carrier other = carrier;
    if (other != null) {
      other.abort(reason.getMessage());
    }
  }

  @Override
  public void close() {
    queues.values().forEach(ExchangeQueue::close);
  }
}
