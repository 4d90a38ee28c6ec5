package dev.caravan.parallel;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

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
    List<Collectives> ends = LocalGroup.of(mesh, patience);
    List<T> results = new ArrayList<>();
    Throwable[] failures = new Throwable[1];
    List<Thread> threads = new ArrayList<>();
    for (Collectives end : ends) {
      threads.add(
          new Thread(
              () -> {
                int rank = end.rank(Axis.WORLD);
                try {
                  T result = body.run(end);
                  if (rank == 0) {
                    results.add(result);
                  }
                } catch (RuntimeException | Error e) {
                  synchronized (failures) {
                    boolean first = failures[0] == null;
                    boolean tells = failures[0] instanceof RankFailure && !(e instanceof RankFailure);
                    failures[0] = first || tells ? e : failures[0];
                  }
                  RankFailure reason = new RankFailure(told(rank, e), e);
                  ends.forEach(other -> ((RankCollectives) other).abort(reason));
                }
              },
              "rank-" + end.rank(Axis.WORLD)));
    }
    threads.forEach(Thread::start);
    threads.forEach(RankThreads::join);
    ends.forEach(Collectives::close);
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
