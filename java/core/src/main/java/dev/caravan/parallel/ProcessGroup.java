package dev.caravan.parallel;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * One rank among those of a run that has several processes: finds the others through the store of rank 0, connects with each,
 * and tells the store every half second that it lives. When any of them fails or is lost, all hear of
 * it, with the rank, its host, and what it was last in.
 */
final class ProcessGroup implements AutoCloseable {
  private static final long BEAT_MILLIS = 500;
  private static final long REASON_MILLIS = 5000;

  private final Rendezvous place;
  private final Duration patience;
  private final TcpStore store; // of rank 0; else null
  private final StoreClient calls;
  private final StoreClient beats;
  private String[] reached; // host and port of the store
  private volatile RankCollectives ranks;
  private volatile String failure = "";
  private volatile boolean closed;
  private String told = ""; // why this rank ends

  private ProcessGroup(Rendezvous place, Duration patience) throws IOException {
    this.place = place;
    this.patience = patience;
    store = place.rank() == 0 ? new TcpStore(place.port()) : null;
    if (store != null && place.file().isPresent()) {
      announce(place.file().get(), store.port());
    }
    calls = reach();
    beats = new StoreClient(reached[0], Integer.parseInt(reached[1]));
  }

  /**
   * Joins the other ranks, when this process's data is ready.
   *
   * @param place of the rank among all ranks
   * @param mesh how the ranks are arranged, told when the settings were found to be equal
   * @param neighbours the groups of the ranks of this process
   * @param settings what must be equal on all, as a text of less than 64 KiB
   * @param difference from rank 0's settings to what differs here; "" if nothing
   * @throws UserError if the settings differ, naming what does, or a rank does not come
   */
  static ProcessGroup join(
      Rendezvous place,
      Mesh mesh,
      LocalGroups neighbours,
      String settings,
      UnaryOperator<String> difference) {
    Duration patience = RankThreads.patience();
    try {
      ProcessGroup group = new ProcessGroup(place, patience);
      try {
        group.meet(mesh, neighbours, settings, difference);
        return group;
      } catch (IOException | RuntimeException e) {
        group.tell(e.getMessage());
        group.close();
        throw e;
      }
    } catch (IOException e) {
      throw new UserError(
          "rank %d of %d cannot join the others at %s: %s"
              .formatted(place.rank(), place.size(), where(place), e.getMessage()),
          e);
    }
  }

  private static String where(Rendezvous place) {
    return place.file().map(Path::toString).orElse(place.host() + ":" + place.port());
  }

  /** This rank's end of the groups. */
  Collectives ranks() {
    return ranks;
  }

  private static void announce(Path file, int port) throws IOException {
    String address = InetAddress.getLocalHost().getHostAddress() + ":" + port;
    Path aside = file.resolveSibling(file.getFileName() + ".tmp");
    Files.writeString(aside, address);
    Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Connects to the store, which rank 0 may not have opened yet. */
  private StoreClient reach() throws IOException {
    long until = System.nanoTime() + patience.toNanos();
    while (true) {
      try {
        String host = store != null ? "127.0.0.1" : place.host();
        int port = store != null ? store.port() : place.port();
        if (store == null && place.file().isPresent()) {
          String address = Files.readString(place.file().get()).trim();
          host = address.substring(0, address.lastIndexOf(':'));
          port = Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
        }
        StoreClient client = new StoreClient(host, port);
        reached = new String[] {host, String.valueOf(port)};
        return client;
      } catch (IOException | IndexOutOfBoundsException | NumberFormatException e) {
        if (System.nanoTime() > until) {
          throw new IOException(
              "rank 0 was not there within " + patience.toSeconds() + " s (" + e.getMessage() + ")",
              e);
        }
        pause(100);
      }
    }
  }

  private static void pause(long millis) throws IOException {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private void meet(
      Mesh mesh, LocalGroups neighbours, String settings, UnaryOperator<String> difference)
      throws IOException {
    beats.hello(place.rank(), InetAddress.getLocalHost().getHostName());
    TcpStore.daemon("rank-" + place.rank() + "-heart", this::beat);
    if (place.rank() == 0) {
      calls.set("settings", settings);
    } else {
      String differs = difference.apply(wanted("settings", 0));
      if (!differs.isEmpty()) {
        throw new UserError("rank " + place.rank() + " differs from rank 0: " + differs);
      }
    }
    Map<Axis, Transport> transports = new EnumMap<>(Axis.class);
    for (Axis axis : Axis.values()) {
      List<Integer> group = mesh.group(axis, place.rank());
      Optional<Transport> here = neighbours.member(axis, group, place.rank());
      transports.put(
          axis,
          here.isPresent()
              ? here.get()
              : new TcpTransport(group, place.rank(), connect(axis, group), this::lost));
    }
    ranks = new RankCollectives(transports);
    ranks.barrier();
  }

  /** A value that another rank gives. */
  private String wanted(String name, int from) throws IOException {
    String value = calls.get(name, patience.toMillis());
    if (value.isEmpty()) {
      String known = failure.isEmpty() ? reason() : failure;
      throw known.isEmpty()
          ? new UserError(
              "rank %d did not come within %d s".formatted(from, patience.toSeconds()))
          : new RankFailure("rank " + place.rank() + ": " + known);
    }
    return value;
  }

  /** Connects with every other rank of a group: to the lower ones, and the higher ones to this. */
  private TcpLink[] connect(Axis axis, List<Integer> group) throws IOException {
    int own = group.indexOf(place.rank());
    TcpLink[] links = new TcpLink[group.size()];
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.bind(new InetSocketAddress(0), group.size());
      int port = ((InetSocketAddress) server.getLocalAddress()).getPort();
      String host = place.rank() == 0 ? "" : calls.address();
      calls.set(axis + "/" + place.rank(), host + ":" + port);
      for (int other = 0; other < own; other++) {
        String address = wanted(axis + "/" + group.get(other), group.get(other));
        links[other] = link(axis, group.get(other), reach(address));
      }
      for (int other = own + 1; other < group.size(); other++) {
        // It is on its way, so accepting will not wait for ever.
        wanted(axis + "/" + group.get(other), group.get(other));
      }
      for (int left = group.size() - 1 - own; left > 0; left--) {
        SocketChannel channel = server.accept();
        ByteBuffer who = ByteBuffer.allocate(Integer.BYTES);
        while (who.hasRemaining()) {
          if (channel.read(who) < 0) {
            throw new IOException("a rank hung up");
          }
        }
        int other = who.flip().getInt();
        links[group.indexOf(other)] = link(axis, other, channel);
      }
    }
    return links;
  }

  /** Connects to where a rank listens and says who this is. */
  private SocketChannel reach(String address) throws IOException {
    int colon = address.lastIndexOf(':');
    String host = colon == 0 ? reached[0] : address.substring(0, colon);
    SocketChannel channel =
        SocketChannel.open(
            new InetSocketAddress(host, Integer.parseInt(address.substring(colon + 1))));
    ByteBuffer me = ByteBuffer.allocate(Integer.BYTES).putInt(place.rank()).flip();
    while (me.hasRemaining()) {
      channel.write(me);
    }
    return channel;
  }

  private TcpLink link(Axis axis, int other, SocketChannel channel) throws IOException {
    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
    return new TcpLink("rank-" + place.rank() + "-" + axis + "-to-" + other, channel);
  }

  private void beat() {
    while (!closed) {
      try {
        RankCollectives known = ranks;
        if (known != null && known.stuckFor() > patience.toMillis()) {
          tell(
              "rank %d: %s is not done within %d s"
                  .formatted(place.rank(), known.position(), patience.toSeconds()));
        }
        String reason = beats.beat(known == null ? "the start" : known.position());
        if (!reason.isEmpty()) {
          failed(reason);
          return;
        }
        Thread.sleep(BEAT_MILLIS);
      } catch (IOException e) {
        if (!closed) {
          failed("rank 0 is lost, its process ended");
        }
        return;
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private void failed(String reason) {
    failure = reason;
    RankCollectives known = ranks;
    if (known != null) {
      known.abort(
          new RankFailure("rank %d, in %s: %s".formatted(place.rank(), known.position(), reason)));
    }
  }

  /** The run's first failure, waited for a little; "" if nothing is known. */
  private String reason() {
    long until = System.nanoTime() + REASON_MILLIS * 1_000_000;
    while (failure.isEmpty() && System.nanoTime() < until && !closed) {
      try {
        Thread.sleep(20);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
    }
    return failure;
  }

  /** What is said when the connection to a rank ended: who failed first, where that is known. */
  private RuntimeException lost(int other) {
    String known = reason();
    return new RankFailure(
        "rank %d, in %s: %s"
            .formatted(
                place.rank(),
                ranks == null ? "the start" : ranks.position(),
                known.isEmpty() ? "rank " + other + " is lost, its connection ended" : known));
  }

  /** Tells all others why this rank ends. */
  void tell(String reason) {
    String said = reason == null ? "it failed" : reason;
    said = said.startsWith("rank ") ? said : "rank " + place.rank() + " failed: " + said;
    told = said;
    try {
      calls.fail(said);
    } catch (IOException e) {
      // Rank 0 is gone, so nobody waits for this.
    }
  }

  /** Takes leave. Rank 0 stays until all others have left or heard of a failure. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      beats.bye();
    } catch (IOException e) {
      failure = failure.isEmpty() ? "rank 0 is lost" : failure;
    }
    if (ranks != null) {
      ranks.abort(new RankFailure(told.isEmpty() ? "rank " + place.rank() + " left" : told));
      ranks.close();
    }
    if (store != null) {
      store.awaitAll(REASON_MILLIS);
      store.close();
    }
    calls.close();
    beats.close();
  }
}
