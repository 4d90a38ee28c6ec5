package dev.caravan.parallel;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.HashMap;
import java.util.Map;

/**
 * Where the processes of a run find each other and hear of failures: names with values, held by rank 0.
 * The first failure that it learns of is the one that everybody is told. A process that ends without
 * saying why closes its connection, which is noticed at once; one that is silent for too long, soon.
 */
final class TcpStore implements AutoCloseable {
  static final int HELLO = 1;
  static final int SET = 2;
  static final int GET = 3;
  static final int BEAT = 4;
  static final int FAIL = 5;
  static final int BYE = 6;

  private static final long SILENCE_MILLIS = 10_000;

  private final ServerSocket server;
  private final Map<String, String> values = new HashMap<>();
  private final Map<Integer, Peer> peers = new HashMap<>();
  private String failure = "";
  private boolean closed;

  /** What is known of a process. */
  private static final class Peer {
    private final String host;
    private String position = "the start";
    private long heard = System.nanoTime();

    private Peer(String host) {
      this.host = host;
    }
  }

  /**
   * Listens.
   *
   * @param port 0 for any that is free
   */
  TcpStore(int port) throws IOException {
    server = new ServerSocket();
    server.setReuseAddress(true);
    server.bind(new InetSocketAddress(port), 1024);
    daemon("store", this::accept);
    daemon("store-silence", this::watch);
  }

  int port() {
    return server.getLocalPort();
  }

  static void daemon(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() {
    try {
      while (true) {
        Socket socket = server.accept();
        daemon("store-client", () -> serve(socket));
      }
    } catch (IOException e) {
      // Closed: no more processes come.
    }
  }

  private synchronized void watch() {
    while (!closed) {
      try {
        wait(500);
      } catch (InterruptedException e) {
        return;
      }
      long now = System.nanoTime();
      peers.forEach(
          (rank, peer) -> {
            long silent = (now - peer.heard) / 1_000_000;
            if (silent > SILENCE_MILLIS) {
              fail(lost(rank, peer, "silent for " + silent / 1000 + " s"));
            }
          });
    }
  }

  private static String lost(int rank, Peer peer, String how) {
    return "rank %d on %s is lost, %s; it was last in %s".formatted(rank, peer.host, how, peer.position);
  }

  private synchronized void fail(String reason) {
    if (failure.isEmpty()) {
      failure = reason;
      notifyAll();
    }
  }

  private void serve(Socket socket) {
    int rank = -1;
    try (socket) {
      socket.setTcpNoDelay(true);
      DataInputStream in = new DataInputStream(socket.getInputStream());
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      while (true) {
        switch (in.readByte()) {
          case HELLO -> {
            rank = in.readInt();
            hello(rank, in.readUTF());
          }
          case SET -> set(in.readUTF(), in.readUTF());
          case GET -> out.writeUTF(get(in.readUTF(), in.readLong()));
          case BEAT -> out.writeUTF(beat(rank, in.readUTF()));
          case FAIL -> fail(in.readUTF());
          case BYE -> rank = bye(rank);
          default -> throw new IOException("not a request");
        }
        out.flush();
      }
    } catch (IOException e) {
      ended(rank);
    }
  }

  private synchronized void hello(int rank, String host) {
    peers.put(rank, new Peer(host));
  }

  private synchronized void set(String name, String value) {
    values.put(name, value);
    notifyAll();
  }

  /** A value when it is there; "" when it does not come in time or something failed. */
  private synchronized String get(String name, long millis) {
    long until = System.nanoTime() + millis * 1_000_000;
    while (!values.containsKey(name) && failure.isEmpty() && !closed) {
      long left = (until - System.nanoTime()) / 1_000_000;
      if (left <= 0) {
        break;
      }
      try {
        wait(left);
      } catch (InterruptedException e) {
        break;
      }
    }
    return values.getOrDefault(name, "");
  }

  private synchronized String beat(int rank, String position) {
    Peer peer = peers.get(rank);
    if (peer != null) {
      peer.heard = System.nanoTime();
      peer.position = position;
    }
    return failure;
  }

  private synchronized int bye(int rank) {
    peers.remove(rank);
    notifyAll();
    return -1;
  }

  private synchronized void ended(int rank) {
    Peer peer = peers.remove(rank);
    if (peer != null && !closed) {
      fail(lost(rank, peer, "its process ended"));
    }
    notifyAll();
  }

  /** Waits a while for the others to take their leave, or to hear why the run failed. */
  synchronized void awaitAll(long millis) {
    long until = System.nanoTime() + millis * 1_000_000;
    while (!peers.isEmpty() && System.nanoTime() < until) {
      try {
        wait(50);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      notifyAll();
    }
    try {
      server.close();
    } catch (IOException e) {
      // It ends with the process at the latest.
    }
  }
}
