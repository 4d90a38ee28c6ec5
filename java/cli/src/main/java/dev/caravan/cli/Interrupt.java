package dev.caravan.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C (and a polite kill) as a request: the process stays until the work that holds this has
 * ended by itself, for example after writing a checkpoint.
 */
final class Interrupt implements AutoCloseable {
  private static final long PATIENCE_MINUTES = 30;

  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread hook = new Thread(this::onShutdown, "interrupt");
  private volatile boolean requested;

  Interrupt() {
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Whether the user asked to stop. */
  boolean requested() {
    return requested;
  }

  private void onShutdown() {
    requested = true;
    System.err.println("caravan: stopping at the end of this step, with a checkpoint");
    try {
      if (!ended.await(PATIENCE_MINUTES, TimeUnit.MINUTES)) {
        System.err.println("caravan: gave up waiting for the step to end");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The work has ended: the process may. */
  @Override
  public void close() {
    ended.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The process is on its way out already; the hook has been let go.
    }
  }
}
