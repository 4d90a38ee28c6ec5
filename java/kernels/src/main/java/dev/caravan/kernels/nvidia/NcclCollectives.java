package dev.caravan.kernels.nvidia;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Library;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Loaded;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * One rank's end of its groups on a GPU, by NCCL. Exchanges run on a stream of each axis beside the rank's
 * work, and are recorded with it. Sums of floats are added in the library's order, which for the same GPUs,
 * links and settings is the same from run to run; sums of the host's numbers in the order of the ranks.
 *
 * <p>A thread asks the library for failures, which it does not tell by itself. A failure, a rank that {@link
 * #abort} names, or an exchange that takes longer than the patience ends all exchanges of this rank: what
 * waits for them goes on with an error that names rank, exchange and step.
 */
public final class NcclCollectives implements Collectives, Collectives.Carrier {
  /** Bytes of an id. Source: ncclUniqueId in NCCL's header. */
  public static final int ID_BYTES = 128;

  private static final long ASK_MILLIS = 200;
  private static final int NUMBERS = 64; // of the host, summed at once

  /**
   * A rank's place in a group.
   *
   * @param id by which the ranks find each other, of {@link #newId}
   * @param ranks how many there are
   * @param rank this one, from 0
   */
  public record Place(byte[] id, int ranks, int rank) {}

  private final Map<Axis, NcclGroup> groups = new EnumMap<>(Axis.class);
  private final Duration patience;
  private final Memory host;
  private final Memory device;
  private final Thread watch;
  private volatile boolean closed;
  private volatile long step;
  private volatile Collective latest;
  private volatile long busySince; // nanoseconds; 0 when nothing may be under way
  private volatile String failure;

  NcclCollectives(
      NcclLibrary library, Stream work, Map<Axis, Place> places, Duration patience) {
    this.patience = patience;
    places.forEach(
        (axis, place) ->
            groups.put(
                axis, new NcclGroup(library, work, place.id(), place.ranks(), place.rank())));
    int most = groups.values().stream().mapToInt(NcclGroup::ranks).max().orElse(1);
    long bytes = (long) (most + 1) * NUMBERS * Double.BYTES;
    host = Memory.staging(work.device(), bytes);
    device = Memory.allocate(work.device(), bytes);
    watch = new Thread(this::watch, "nccl-watch");
    watch.setDaemon(true);
    watch.start();
  }

  /** An id for a group, made by one of its ranks; empty where NCCL cannot be used. */
  public static Optional<byte[]> newId(Consumer<String> reason) {
    return library(reason).map(NcclLibrary::newId);
  }

  /**
   * Joins groups: all ranks of each do, and it returns when they have.
   *
   * @param work the rank's stream, of a GPU
   * @param places by axis; an axis without one has this rank alone
   * @param patience how long an exchange may take
   * @param reason gets why NCCL cannot be used
   */
  public static Optional<NcclCollectives> open(
      Stream work, Map<Axis, Place> places, Duration patience, Consumer<String> reason) {
    if (work.device().kind() != Device.Kind.CUDA) {
      reason.accept("the device is no GPU");
      return Optional.empty();
    }
    return library(reason).map(library -> new NcclCollectives(library, work, places, patience));
  }

  private static Optional<NcclLibrary> library(Consumer<String> reason) {
    Loaded loaded = NvidiaLibraries.load(Library.NCCL);
    if (!loaded.usable()) {
      reason.accept(loaded.reason());
      return Optional.empty();
    }
    return Optional.of(new NcclPreset());
  }

  @Override
  public int size(Axis axis) {
    return groups.containsKey(axis) ? groups.get(axis).ranks() : 1;
  }

  @Override
  public int rank(Axis axis) {
    return groups.containsKey(axis) ? groups.get(axis).rank() : 0;
  }

  @Override
  public long begin(Stream stream, Collective collective) {
    return begin(stream, List.of(collective));
  }

  /**
   * Begins exchanges of one axis that are launched as one.
   *
   * @return the number of all of them, for {@link #join}
   */
  public long begin(Stream stream, List<Collective> collectives) {
    refuseIfFailed();
    Axis axis = collectives.get(0).axis();
    NcclGroup group = groups.get(axis);
    for (Collective collective : collectives) {
      if (group == null || collective.axis() != axis || collective.ranks() != group.ranks()) {
        throw KernelException.invalid(
            collective + ": the group over " + axis + " has " + size(axis) + " ranks");
      }
    }
    latest = collectives.get(collectives.size() - 1);
    busySince = System.nanoTime();
    return guarded(() -> group.begin(stream, collectives));
  }

  @Override
  public void join(Stream stream, Axis axis, long ticket) {
    refuseIfFailed();
    if (groups.containsKey(axis)) {
      groups.get(axis).join(stream, ticket);
    }
  }

  @Override
  public void sum(Axis axis, double[] values) {
    refuseIfFailed();
    NcclGroup group = groups.get(axis);
    if (group == null) {
      return;
    }
    busySince = System.nanoTime();
    for (int first = 0; first < values.length; first += NUMBERS) {
      int from = first;
      guarded(
          () -> {
            sum(group, values, from, Math.min(NUMBERS, values.length - from));
            return null;
          });
    }
    refuseIfFailed();
    busySince = 0;
  }

  /** Gathers the numbers of all and adds them in the order of the ranks. */
  private void sum(NcclGroup group, double[] values, int first, int count) {
    int bytes = count * Double.BYTES;
    ByteBuffer own = host.view(0, bytes).order(ByteOrder.nativeOrder());
    own.asDoubleBuffer().put(values, first, count);
    Stream stream = group.stream();
    long all = device.address() + bytes;
    stream.copy(device.address(), host.address(), bytes);
    group.gather(device.address(), all, bytes);
    stream.copy(host.address() + bytes, all, (long) group.ranks() * bytes);
    stream.synchronize();
    refuseIfFailed();
    ByteBuffer theirs =
        host.view(bytes, group.ranks() * bytes).order(ByteOrder.nativeOrder());
    for (int i = 0; i < count; i++) {
      double sum = 0;
      for (int rank = 0; rank < group.ranks(); rank++) {
        sum += theirs.getDouble(rank * bytes + i * Double.BYTES);
      }
      values[first + i] = sum;
    }
  }

  private interface Call<T> {
    T run();
  }

  /** A failure of the library ends the other exchanges of this rank, and names where it was. */
  private <T> T guarded(Call<T> call) {
    try {
      return call.run();
    } catch (KernelException.DeviceLost e) {
      abort(e.getMessage());
      throw KernelException.lost(failure);
    }
  }

  /** A step is watched from here to the next {@link #sum}: what is replayed is begun by nobody else. */
  @Override
  public void at(long number) {
    step = number;
    busySince = System.nanoTime();
  }

  @Override
  public String position() {
    Collective known = latest;
    return (known == null ? "the start" : known.toString()) + (step > 0 ? " in step " + step : "");
  }

  /** Ends all exchanges of this rank, those under way too, for a reason that later calls are told. */
  @Override
  public synchronized void abort(String reason) {
    if (failure == null && !closed) {
      failure = "rank %d, in %s: %s".formatted(rank(Axis.WORLD), position(), reason);
      groups.values().forEach(NcclGroup::abort);
    }
  }

  private void refuseIfFailed() {
    if (failure != null) {
      throw KernelException.lost(failure);
    }
  }

  private void watch() {
    while (!closed && failure == null) {
      try {
        Thread.sleep(ASK_MILLIS);
      } catch (InterruptedException e) {
        return;
      }
      for (Map.Entry<Axis, NcclGroup> group : groups.entrySet()) {
        String found = group.getValue().failure();
        if (!found.isEmpty()) {
          abort(found);
        }
      }
      long since = busySince;
      if (since != 0 && System.nanoTime() - since > patience.toNanos()) {
        abort("not done after " + patience.toSeconds() + " s: a rank is lost or does something else");
      }
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
    }
    watch.interrupt();
    try {
      watch.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    groups.values().forEach(NcclGroup::close);
    device.close();
    host.close();
  }
}
