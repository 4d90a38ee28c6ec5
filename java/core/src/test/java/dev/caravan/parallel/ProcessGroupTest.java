package dev.caravan.parallel;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What processes do, over real connections, each of them here a thread. */
class ProcessGroupTest {
  @TempDir Path folder;

  private int meetings;

  /** Runs a body on ranks that meet by a file; gives what each failed with, or null. */
  private List<Throwable> run(int ranks, String[] settings, RankThreads.Body<Object> body) {
    return run(new Mesh(ranks, 1), settings, body);
  }

  private List<Throwable> run(Mesh mesh, String[] settings, RankThreads.Body<Object> body) {
    return run(mesh.size(), mesh, settings, body);
  }

  /** The same in fewer processes; gives what each process failed with. */
  private List<Throwable> run(
      int processes, Mesh mesh, String[] settings, RankThreads.Body<Object> body) {
    Path file = folder.resolve("meet-" + meetings++);
    List<Throwable> failures =
        Collections.synchronizedList(new ArrayList<>(Collections.nCopies(processes, null)));
    List<Thread> threads = new ArrayList<>();
    for (int process = 0; process < processes; process++) {
      int me = process;
      Rendezvous place = new Rendezvous("test", me, processes, "", 0, Optional.of(file));
      threads.add(
          new Thread(
              () -> {
                try {
                  RankThreads.run(
                      place,
                      mesh,
                      settings[me],
                      first -> first.equals(settings[me]) ? "" : settings[me] + ", was " + first,
                      body);
                } catch (RuntimeException | Error e) {
                  failures.set(me, e);
                }
              }));
    }
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    return failures;
  }

  private static String[] same(int ranks) {
    return Collections.nCopies(ranks, "same").toArray(String[]::new);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void everyExchangeGivesTheBitsOfThreads(int ranks) {
    for (Kind kind : Kind.values()) {
      int root = ranks - 1;
      float[][] got =
          Exchanges.run(
              (count, body) ->
                  run(count, same(count), body)
                      .forEach(failure -> assertEquals(null, failure, kind + ": " + failure)),
              kind,
              ranks,
              5003,
              kind == Kind.BROADCAST ? root : 0);
      for (int rank = 0; rank < ranks; rank++) {
        assertArrayEquals(
            Exchanges.expected(kind, ranks, 5003, root, rank), got[rank], kind + ", rank " + rank);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void countedElementsComeAlone(int ranks) {
    float[][] got =
        Exchanges.counted(
            (count, body) ->
                run(count, same(count), body)
                    .forEach(failure -> assertEquals(null, failure, String.valueOf(failure))),
            ranks,
            5002,
            0);
    for (int rank = 0; rank < ranks; rank++) {
      assertArrayEquals(
          Exchanges.expectedCounted(ranks, 5002, rank), got[rank], "rank " + rank);
    }
  }

  @Test
  void countsThatDoNotAgreeEndAll() {
    List<Throwable> failures = new ArrayList<>();
    Exchanges.counted(
        (count, body) -> failures.addAll(run(count, same(count), body)), 2, 10, -1);
    assertTrue(
        failures.stream()
            .anyMatch(
                failure ->
                    String.valueOf(failure)
                        .contains("rank 1 waits for 36 bytes of rank 0, which sends 40")),
        failures.toString());
    assertEquals(2, failures.stream().filter(Objects::nonNull).count(), failures.toString());
  }

  @Test
  void processesFormTheGroupsOfThreads() {
    Mesh mesh = new Mesh(2, 2, 2);
    double[][] threads = LocalGroupTest.groupSums(body -> RankThreads.run(mesh, body), mesh);
    double[][] processes =
        LocalGroupTest.groupSums(
            body ->
                run(mesh, same(mesh.size()), body)
                    .forEach(failure -> assertEquals(null, failure, "" + failure)),
            mesh);
    for (int rank = 0; rank < mesh.size(); rank++) {
      assertArrayEquals(threads[rank], processes[rank], "rank " + rank);
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 2, 2, 1", "2, 4, 1, 2", "2, 4, 1, 4", "3, 3, 2, 3"})
  void severalRanksInEachOfSeveralProcessesFormTheGroupsOfThreads(
      int processes, int data, int tensor, int expert) {
    Mesh mesh = new Mesh(data, tensor, expert);
    double[][] threads = LocalGroupTest.groupSums(body -> RankThreads.run(mesh, body), mesh);
    double[][] mixed =
        LocalGroupTest.groupSums(
            body ->
                run(processes, mesh, same(processes), body)
                    .forEach(failure -> assertEquals(null, failure, "" + failure)),
            mesh);
    for (int rank = 0; rank < mesh.size(); rank++) {
      assertArrayEquals(threads[rank], mixed[rank], "rank " + rank);
    }
  }

  /** Its neighbour in the same process and the ranks of the other one hear why. */
  @Test
  void aRankAmongSeveralOfAProcessThatFailsEndsAllWithItsReason() {
    Mesh mesh = new Mesh(2, 2);
    List<String> heard = Collections.synchronizedList(new ArrayList<>());
    List<Throwable> failures =
        run(
            2,
            mesh,
            same(2),
            ranks -> {
              if (ranks.rank(Axis.WORLD) == 2) {
                throw new IllegalStateException("no more");
              }
              try {
                while (true) {
                  ranks.sum(Axis.TENSOR, new double[1]);
                  ranks.barrier();
                }
              } catch (RankFailure e) {
                heard.add(e.getMessage());
                throw e;
              }
            });
    assertEquals(3, heard.size(), heard.toString());
    for (String told : heard) {
      assertTrue(told.endsWith("rank 2 failed: no more"), told);
    }
    assertEquals("no more", failures.get(1).getMessage());
    assertTrue(failures.get(0).getMessage().endsWith("rank 2 failed: no more"), "" + failures);
  }

  /** A group that is not all ranks: the one that is lost has its number among all. */
  @Test
  void aRankOfAGroupThatDoesSomethingElseIsNamedByItsNumberAmongAll() {
    List<Throwable> failures =
        run(
            new Mesh(2, 2),
            same(4),
            ranks -> {
              int rank = ranks.rank(Axis.WORLD);
              if (rank >= 2) {
                ranks.sum(Axis.TENSOR, new double[rank]);
              }
              ranks.barrier();
              return null;
            });
    String told = failures.toString();
    assertTrue(told.contains("rank 2 has") && told.contains("rank 3 has"), told);
  }

  @Test
  void settingsThatDifferAreNamedAndEndAll() {
    List<Throwable> failures =
        run(3, new String[] {"lr: 1", "lr: 1", "lr: 2"}, ranks -> null);
    assertEquals("rank 2 differs from rank 0: lr: 2, was lr: 1", failures.get(2).getMessage());
    assertEquals(UserError.class, failures.get(2).getClass());
    assertTrue(failures.get(0) != null && failures.get(1) != null, failures.toString());
  }

  @Test
  void aRankThatFailsEndsAllWithItsReason() {
    List<Throwable> failures =
        run(
            3,
            same(3),
            ranks -> {
              ranks.at(5);
              if (ranks.rank(Axis.DATA) == 1) {
                throw new IllegalStateException("no more");
              }
              rounds(ranks);
              return null;
            });
    for (int rank : new int[] {0, 2}) {
      assertTrue(
          failures.get(rank).getMessage().endsWith("rank 1 failed: no more"),
          failures.get(rank).getMessage());
    }
  }

  /** Exchanges until something fails. */
  private static void rounds(Collectives ranks) {
    while (true) {
      ranks.barrier();
    }
  }

  @Test
  void ranksThatDoDifferentThingsAreNamed() {
    List<Throwable> failures =
        run(
            2,
            same(2),
            ranks -> {
              ranks.sum(Axis.DATA, new double[1 + ranks.rank(Axis.DATA)]);
              return null;
            });
    String both = failures.toString();
    assertTrue(both.contains("a sum of numbers of 1 elements") || both.contains("of 2 elements"), both);
  }

  @Test
  void aPlaceWhereNobodyListensIsRefused() {
    Rendezvous nowhere = new Rendezvous("test", 1, 2, "127.0.0.1", 1, Optional.empty());
    System.setProperty(RankThreads.PATIENCE, "0");
    try {
      UserError error =
          assertThrows(UserError.class, () -> RankThreads.run(nowhere, new Mesh(2, 1), "", first -> "", ranks -> null));
      assertTrue(
          error.getMessage().startsWith("rank 1 of 2 cannot join the others at 127.0.0.1:1: rank 0"),
          error.getMessage());
    } finally {
      System.clearProperty(RankThreads.PATIENCE);
    }
  }
}
