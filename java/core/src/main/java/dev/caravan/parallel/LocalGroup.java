package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Ranks that are threads of one process. They reach into each other's memory: when all have come, rank
 * r computes part r for everybody, so a sum takes one pass, and since it adds in the order of the ranks,
 * its bits depend on neither threads nor timing.
 */
final class LocalGroup {
  private static final String SUM = "a sum of numbers";

  private final Axis axis;
  private final List<Integer> ranks; // by their places in the group
  private final Duration patience;
  private final Collective[] given;
  private final double[][] numbers;
  private final String[] waiting; // what each rank waits in; null for one that computes
  private int arrived;
  private long generation;
  private Throwable failure;

  /**
   * @param ranks that it has, by their places in it
   * @param patience how long a rank waits for the others
   */
  LocalGroup(Axis axis, List<Integer> ranks, Duration patience) {
    this.axis = axis;
    this.ranks = ranks;
    this.patience = patience;
    int size = ranks.size();
    given = new Collective[size];
    numbers = new double[size][];
    waiting = new String[size];
  }

  /** The end of one rank. */
  Transport member(int rank) {
    return new Member(ranks.indexOf(rank));
  }

  private synchronized void fail(Throwable reason) {
    if (failure == null) {
      failure = reason;
      notifyAll();
    }
  }

  /** Waits until every rank is here. */
  private synchronized void meet(int rank, Object what, long step) {
    check(rank, what, step);
    waiting[rank] = what + (step > 0 ? " in step " + step : "");
    arrived++;
    long mine = generation;
    if (arrived == waiting.length) {
      arrived = 0;
      generation++;
      Arrays.fill(waiting, null);
      notifyAll();
      return;
    }
    long until = System.nanoTime() + patience.toNanos();
    while (generation == mine) {
      check(rank, what, step);
      long left = (until - System.nanoTime()) / 1_000_000;
      if (left <= 0) {
        fail(new RankFailure(late()));
        check(rank, what, step);
      }
      try {
        wait(Math.max(1, left));
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        fail(new RankFailure("rank " + ranks.get(rank) + " was interrupted", e));
      }
    }
  }

  private String late() {
    List<Integer> missing = new ArrayList<>();
    String what = "";
    for (int rank = 0; rank < waiting.length; rank++) {
      if (waiting[rank] == null) {
        missing.add(ranks.get(rank));
      } else {
        what = waiting[rank];
      }
    }
    return "%s group: rank%s %s did not come to %s within %d s"
        .formatted(
            axis,
            missing.size() == 1 ? "" : "s",
            missing.toString().replaceAll("[\\[\\]]", ""),
            what,
            patience.toSeconds());
  }

  private RankFailure different(int rank, int other) {
    return new RankFailure(
        "rank %d has %s, rank %d has %s"
            .formatted(ranks.get(rank), what(rank), ranks.get(other), what(other)));
  }

  /** The failure of an all-to-all in which a rank waits for more or less than another sends. */
  static RankFailure counted(int rank, int other, long awaited, long sent) {
    return new RankFailure(
        "rank %d waits for %d bytes of rank %d, which sends %d"
            .formatted(rank, awaited, other, sent));
  }

  private Object what(int rank) {
    return given[rank] == null ? SUM : given[rank];
  }

  private synchronized void check(int rank, Object what, long step) {
    if (failure != null) {
      throw new RankFailure(
          "rank %d, %s%s: %s"
              .formatted(
                  ranks.get(rank), what, step > 0 ? " in step " + step : "", failure.getMessage()),
          failure);
    }
  }

  private final class Member implements Transport {
    private final int rank;
    private final HostExchange work = new HostExchange();

    Member(int rank) {
      this.rank = rank;
    }

    @Override
    public int size() {
      return given.length;
    }

    @Override
    public int rank() {
      return rank;
    }

    @Override
    public void exchange(Collective collective, long step) {
      given[rank] = collective;
      numbers[rank] = null;
      meet(rank, collective, step);
      for (int other = 0; other < given.length; other++) {
        if (given[other] == null || !collective.matches(given[other])) {
          fail(different(rank, other));
        } else if (collective.kind() == Collective.Kind.ALL_TO_ALL) {
          long sent = given[other].sentBytes(rank);
          long awaited = collective.receivedBytes(other);
          if (sent != awaited) {
            fail(counted(ranks.get(rank), ranks.get(other), awaited, sent));
          }
        }
      }
      check(rank, collective, step);
      work.run(given, rank);
      meet(rank, collective, step);
    }

    @Override
    public void sum(double[] values, long step) {
      given[rank] = null;
      numbers[rank] = values.clone();
      meet(rank, SUM, step);
      for (int other = 0; other < numbers.length; other++) {
        if (numbers[other] == null || numbers[other].length != values.length) {
          fail(different(rank, other));
        }
      }
      check(rank, SUM, step);
      Arrays.fill(values, 0);
      for (double[] part : numbers) {
        for (int i = 0; i < values.length; i++) {
          values[i] += part[i];
        }
      }
      meet(rank, SUM, step);
    }

    @Override
    public void abort(Throwable reason) {
      fail(reason);
    }
  }
}
