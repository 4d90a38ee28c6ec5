package dev.caravan.parallel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

/** What a rank tells of itself while it waits. */
class RankCollectivesTest {
  /** Two ranks, of which the other never comes: everything waits until it is aborted. */
  private static final class Deserted implements Transport {
    private final CountDownLatch waiting = new CountDownLatch(1);
    private final CountDownLatch aborted = new CountDownLatch(1);

    @Override
    public int size() {
      return 2;
    }

    @Override
    public int rank() {
      return 0;
    }

    private void await() {
      waiting.countDown();
      try {
        aborted.await();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      throw new RankFailure("aborted");
    }

    @Override
    public void exchange(Collective collective, long step) {
      await();
    }

    @Override
    public void sum(double[] values, long step) {
      await();
    }

    @Override
    public void abort(Throwable reason) {
      aborted.countDown();
    }

    @Override
    public void close() {}
  }

  /** A barrier counts as being stuck as an exchange does: whoever watches ends it and names it. */
  @Test
  void aSumThatNobodyJoinsIsSeenAndNamed() throws InterruptedException {
    Deserted world = new Deserted();
    Map<Axis, Transport> transports = new EnumMap<>(Axis.class);
    for (Axis axis : Axis.values()) {
      LocalGroup alone = new LocalGroup(axis, List.of(0), Duration.ofMinutes(1));
      transports.put(axis, axis == Axis.WORLD ? world : alone.member(0));
    }
    try (RankCollectives ranks = new RankCollectives(transports)) {
      ranks.at(7);
      assertEquals(0, ranks.stuckFor());
      Throwable[] failure = new Throwable[1];
      Thread waiter =
          new Thread(() -> failure[0] = assertThrows(RankFailure.class, ranks::barrier));
      waiter.start();
      world.waiting.await();
      while (ranks.stuckFor() == 0) {
        Thread.onSpinWait(); // until the clock has moved on
      }
      assertEquals("a sum of numbers in step 7", ranks.position());
      ranks.abort(new RankFailure("told by the watch"));
      waiter.join();
      assertTrue(failure[0] instanceof RankFailure);
      assertEquals(0, ranks.stuckFor());
      assertEquals(2, ranks.size(Axis.WORLD));
    }
  }
}
