package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collectives;
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

  private final String name;
  private final Duration patience;
  private final Collective[] given;
  private final double[][] numbers;
  private final String[] waiting; // what each rank waits in; null for one that computes
  private int arrived;
  private long generation;
  private Throwable failure;

  /**
   * @param name for errors: the axis
   * @param size how many ranks
   * @param patience how long a rank waits for the others
   */
  LocalGroup(String name, int size, Duration patience) {
    this.name = name;
    this.patience = patience;
    given = new Collective[size];
    numbers = new double[size][];
    waiting = new String[size];
  }

  /** The end of one rank. */
  Transport member(int rank) {
    return new Member(rank);
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
        fail(new RankFailure("rank " + rank + " was interrupted", e));
      }
    }
  }

  private String late() {
    List<Integer> missing = new ArrayList<>();
    String what = "";
    for (int rank = 0; rank < waiting.length; rank++) {
      if (waiting[rank] == null) {
        missing.add(rank);
      } else {
        what = waiting[rank];
      }
    }
    return "%s group: rank%s %s did not come to %s within %d s"
        .formatted(
            name,
            missing.size() == 1 ? "" : "s",
            missing.toString().replaceAll("[\\[\\]]", ""),
            what,
            patience.toSeconds());
  }

  private RankFailure different(int rank, int other) {
    return new RankFailure(
        "rank %d has %s, rank %d has %s".formatted(rank, what(rank), other, what(other)));
  }

  private Object what(int rank) {
    return given[rank] == null ? SUM : given[rank];
  }

  private synchronized void check(int rank, Object what, long step) {
    if (failure != null) {
      throw new RankFailure(
          "rank %d, %s%s: %s"
              .formatted(
                  rank, what, step > 0 ? " in step " + step : "", failure.getMessage()),
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

  /**
   * The ends of all ranks of a mesh.
   *
   * @param patience how long a rank waits for the others
   */
  static List<Collectives> of(Mesh mesh, Duration patience) {
    LocalGroup world = new LocalGroup("world", mesh.size(), patience);
    List<LocalGroup> data = groups("data", mesh.tensor(), mesh.data(), patience);
    List<LocalGroup> tensor = groups("tensor", mesh.data(), mesh.tensor(), patience);
    List<Collectives> ends = new ArrayList<>();
    for (int rank = 0; rank < mesh.size(); rank++) {
      ends.add(
          new RankCollectives(
              data.get(mesh.tensorRank(rank)).member(mesh.dataRank(rank)),
              tensor.get(mesh.dataRank(rank)).member(mesh.tensorRank(rank)),
              world.member(rank)));
    }
    return ends;
  }

  private static List<LocalGroup> groups(String name, int count, int size, Duration patience) {
    List<LocalGroup> groups = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      groups.add(new LocalGroup(name, size, patience));
    }
    return groups;
  }
}
