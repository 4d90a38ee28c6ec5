package dev.caravan.parallel;

import dev.caravan.kernels.Collectives;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.function.UnaryOperator;

/** Ranks as threads of this process. The first that fails ends all. */
public final class RankThreads {
  /** How long a rank waits for the others, in seconds: a system property. */
  public static final String PATIENCE = "caravan.patience";

  private static final long DEFAULT_PATIENCE = 600;

  private RankThreads() {}

  /** What one rank does. */
  @FunctionalInterface
  public interface Body<T> {
    /** Runs on the rank's own thread, with its end of the groups. */
    T run(Collectives group);
  }

  /**
   * Runs a body on every rank and waits for all.
   *
   * @return what rank 0 gave back
   * @throws RuntimeException of the rank that failed first
   */
  public static <T> T run(Mesh mesh, Body<T> body) {
    return run(mesh, patience(), body);
  }

  /** How long a rank waits for the others. */
  public static Duration patience() {
    return Duration.ofSeconds(Long.getLong(PATIENCE, DEFAULT_PATIENCE));
  }

  /** The same, with how long a rank waits for the others. */
  static <T> T run(Mesh mesh, Duration patience, Body<T> body) {
    List<Collectives> ends = LocalGroups.all(mesh, patience);
    try {
      return run(
          0,
          mesh.size(),
          rank -> body.run(ends.get(rank)),
          reason -> ends.forEach(end -> ((RankCollectives) end).abort(reason)));
    } finally {
      ends.forEach(Collectives::close);
    }
  }

  /**
   * Runs a body on every rank of this process, one of several that have equally many, and waits for them.
   * Each joins the others when its thread begins, so the data has to be ready.
   *
   * @param place of this process
   * @param mesh of all ranks; a multiple of the processes
   * @param settings what must be equal in all processes, as a text of less than 64 KiB
   * @param difference from rank 0's settings to what differs here; "" if nothing
   * @return what this process's first rank gave back
   * @throws RuntimeException of the rank that failed first
   */
  public static <T> T run(
      Rendezvous place,
      Mesh mesh,
      String settings,
      UnaryOperator<String> difference,
      Body<T> body) {
    int count = mesh.size() / place.size();
    LocalGroups neighbours = new LocalGroups(place.rank() * count, count, patience());
    return run(
        neighbours.first(),
        count,
        rank -> {
          Rendezvous own = place.ofRank(rank, mesh.size());
          try (ProcessGroup group =
              ProcessGroup.join(own, mesh, neighbours, settings, difference)) {
            try {
              return body.run(group.ranks());
            } catch (RuntimeException | Error e) {
              group.tell(e.getMessage());
              throw e;
            }
          }
        },
        reason -> {}); // the store of rank 0 tells everybody
  }

  /** Runs ranks first, first + 1, ...; the first that fails tells the reason. */
  private static <T> T run(
      int first, int count, IntFunction<T> body, Consumer<RankFailure> failed) {
    List<T> results = new ArrayList<>();
    Throwable[] failures = new Throwable[1];
    List<Thread> threads = new ArrayList<>();
    for (int i = first; i < first + count; i++) {
      int rank = i;
      threads.add(
          new Thread(
              () -> {
                try {
                  T result = body.apply(rank);
                  if (rank == first) {
                    results.add(result);
                  }
                } catch (RuntimeException | Error e) {
                  synchronized (failures) {
                    boolean none = failures[0] == null;
                    boolean tells = failures[0] instanceof RankFailure && !(e instanceof RankFailure);
                    failures[0] = none || tells ? e : failures[0];
                  }
                  failed.accept(new RankFailure(told(rank, e), e));
                }
              },
              "rank-" + rank));
    }
    threads.forEach(Thread::start);
    threads.forEach(RankThreads::join);
    if (failures[0] instanceof RuntimeException e) {
      throw e;
    }
    if (failures[0] instanceof Error e) {
      throw e;
    }
    return results.get(0);
  }

  private static String told(int rank, Throwable e) {
    return e instanceof RankFailure ? e.getMessage() : "rank " + rank + " failed: " + e.getMessage();
  }

  private static void join(Thread thread) {
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
