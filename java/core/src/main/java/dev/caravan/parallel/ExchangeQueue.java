package dev.caravan.parallel;

import dev.caravan.kernels.Collective;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Exchanges of one group in order, done by a thread of its own while the rank computes. Putting one in
 * allocates nothing.
 */
final class ExchangeQueue implements AutoCloseable {
  private static final int CAPACITY = 256;

  private final Transport transport;
  private final Thread thread;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Collective[] ring = new Collective[CAPACITY];
  private final long[] steps = new long[CAPACITY];
  private long put;
  private long done;
  private volatile long began; // when the exchange under way did; 0 for none
  private boolean closed;
  private RuntimeException failure;

  ExchangeQueue(String name, Transport transport) {
    this.transport = transport;
    thread = transport.size() > 1 ? new Thread(this::work, name) : null;
    if (thread != null) {
      thread.setDaemon(true);
      thread.start();
    }
  }

  Transport transport() {
    return transport;
  }

  /** For how long the exchange under way has been so. */
  long busyMillis() {
    long since = began;
    return since == 0 ? 0 : (System.nanoTime() - since) / 1_000_000;
  }

  /** Appends an exchange and gives its number; waits only when very many are under way. */
  long put(Collective collective, long step) {
    if (thread == null) { // a group of one
      transport.exchange(collective, step);
      done = ++put;
      return put;
    }
    lock.lock();
    try {
      while (put - done == CAPACITY && failure == null) {
        changed.awaitUninterruptibly();
      }
      check();
      ring[(int) (put % CAPACITY)] = collective;
      steps[(int) (put % CAPACITY)] = step;
      changed.signalAll();
      return ++put;
    } finally {
      lock.unlock();
    }
  }

  /** Waits until the exchange of a number is done, or all that there are. */
  void await(long ticket) {
    lock.lock();
    try {
      while (done < Math.min(put, ticket) && failure == null) {
        changed.awaitUninterruptibly();
      }
      check();
    } finally {
      lock.unlock();
    }
  }

  private void check() {
    if (failure != null) {
      RankFailure again = new RankFailure(failure.getMessage(), failure);
      throw again;
    }
  }

  private void work() {
    while (true) {
      Collective next;
      long step;
      lock.lock();
      try {
        while (done == put && !closed) {
          changed.awaitUninterruptibly();
        }
        if (done == put) {
          return;
        }
        next = ring[(int) (done % CAPACITY)];
        step = steps[(int) (done % CAPACITY)];
      } finally {
        lock.unlock();
      }
      RuntimeException failed = null;
      began = System.nanoTime();
      try {
        transport.exchange(next, step);
        began = 0;
      } catch (RuntimeException e) {
        failed = e;
        transport.abort(e);
      }
      lock.lock();
      try {
        done++;
        failure = failed;
        changed.signalAll();
        if (failed != null) {
          return;
        }
      } finally {
        lock.unlock();
      }
    }
  }

  /** Ends the thread when what it has is done; a rank that waits for others must be aborted first. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    if (thread != null) {
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
    transport.close();
  }
}
