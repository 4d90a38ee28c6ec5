package dev.caravan.parallel;

import dev.caravan.kernels.Memory;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;

/**
 * The connection of two ranks. What is sent is written by a thread of its own, so that two ranks that send
 * each other more than the network holds do not wait for each other for ever.
 */
final class TcpLink implements AutoCloseable {
  private static final int MOST = 1 << 20; // bytes at once

  private final SocketChannel channel;
  private final Thread writer;
  private final ArrayDeque<ByteBuffer> queue = new ArrayDeque<>();
  private boolean writing;
  private IOException failure;
  private volatile boolean closed;

  TcpLink(String name, SocketChannel channel) {
    this.channel = channel;
    writer = new Thread(this::write, name);
    writer.setDaemon(true);
    writer.start();
  }

  /** Sends a buffer, which must stay as it is until {@link #flush}. */
  synchronized void send(ByteBuffer bytes) {
    queue.add(bytes);
    notifyAll();
  }

  /** Sends memory, which must stay as it is until {@link #flush}. */
  void send(long address, long bytes) {
    for (long at = 0; at < bytes; at += MOST) {
      send(Memory.hostView(address + at, (int) Math.min(MOST, bytes - at)));
    }
  }

  /** Waits until everything was handed to the network. */
  synchronized void flush() throws IOException {
    while ((writing || !queue.isEmpty()) && failure == null && !closed) {
      try {
        wait();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted", e);
      }
    }
    if (failure != null) {
      throw failure;
    }
  }

  /** Fills a buffer with what the other one sent. */
  void receive(ByteBuffer to) throws IOException {
    while (to.hasRemaining()) {
      if (channel.read(to) < 0) {
        throw new EOFException("the connection ended");
      }
    }
  }

  /** Fills memory. */
  void receive(long address, long bytes) throws IOException {
    for (long at = 0; at < bytes; at += MOST) {
      receive(Memory.hostView(address + at, (int) Math.min(MOST, bytes - at)));
    }
  }

  private void write() {
    while (true) {
      ByteBuffer next;
      synchronized (this) {
        writing = false;
        notifyAll();
        while (queue.isEmpty() && !closed) {
          try {
            wait();
          } catch (InterruptedException e) {
            return;
          }
        }
        if (closed) {
          return;
        }
        next = queue.poll();
        writing = true;
      }
      try {
        while (next.hasRemaining()) {
          channel.write(next);
        }
      } catch (IOException e) {
        synchronized (this) {
          failure = e;
          writing = false;
          notifyAll();
        }
        return;
      }
    }
  }

  @Override
  public void close() {
    closed = true;
    try {
      channel.close();
    } catch (IOException e) {
      // It ends with the process at the latest.
    }
    synchronized (this) {
      notifyAll();
    }
  }
}
