package dev.caravan.train;

/** Something that is written on a thread of its own. */
final class BackgroundWrite {
  private final Thread thread;
  private volatile Throwable failure;

  /** Begins it. */
  BackgroundWrite(String name, Runnable work) {
    thread =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (RuntimeException | Error e) {
                failure = e;
              }
            },
            name);
    thread.setDaemon(true); // a run waits for what it needs; a process that fails does not
    thread.start();
  }

  /**
   * Whether it is done.
   *
   * @throws RuntimeException with which it failed
   */
  boolean done() {
    if (thread.isAlive()) {
      return false;
    }
    await();
    return true;
  }

  /** Waits for it; the same failure. */
  void await() {
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
    if (failure instanceof RuntimeException e) {
      throw e;
    }
    if (failure instanceof Error e) {
      throw e;
    }
  }

  /** Ends it: a file that is being written is closed. */
  void stop() {
    thread.interrupt();
  }
}
