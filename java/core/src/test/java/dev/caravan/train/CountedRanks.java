package dev.caravan.train;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Stream;

/** A rank that counts the bytes which it sends of tensors. */
final class CountedRanks implements Collectives {
  private final Collectives ranks;
  private long bytes;

  CountedRanks(Collectives ranks) {
    this.ranks = ranks;
  }

  /** Bytes since the last call. */
  long sent() {
    long sent = bytes;
    bytes = 0;
    return sent;
  }

  @Override
  public int size(Collective.Axis axis) {
    return ranks.size(axis);
  }

  @Override
  public int rank(Collective.Axis axis) {
    return ranks.rank(axis);
  }

  @Override
  public long begin(Stream stream, Collective collective) {
    long longer = Math.max(collective.sendBytes(), collective.receiveBytes());
    bytes += Collective.wireBytes(collective.kind(), collective.ranks(), longer);
    return ranks.begin(stream, collective);
  }

  @Override
  public void join(Stream stream, Collective.Axis axis, long ticket) {
    ranks.join(stream, axis, ticket);
  }

  @Override
  public void sum(Collective.Axis axis, double[] values) {
    ranks.sum(axis, values);
  }
}
