package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NcclCollectives;
import dev.caravan.kernels.nvidia.NcclCollectives.Place;
import dev.caravan.kernels.nvidia.NvidiaLibraries;
import dev.caravan.parallel.RankThreads;
import java.time.Duration;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;

/** Groups of ranks on GPUs. */
public final class DeviceCollectives {
  private DeviceCollectives() {}

  /**
   * A group of one on an axis, which exchanges through NCCL all the same.
   *
   * @throws UserError if NCCL cannot be used, with the reason
   */
  public static Collectives alone(Stream stream, Axis axis) {
    return join(stream, Map.of(axis, new Place(newId(stream), 1, 0)));
  }

  /**
   * The groups of ranks that have met by the host, through NCCL; all ranks call it.
   *
   * @param stream the rank's own
   * @param host the groups as they met, which tell each other of failures from then on
   * @return empty where the ranks exchange by the host: on the CPU, or where there is one rank only
   * @throws UserError if NCCL cannot be used, with the reason
   */
  public static Optional<Collectives> join(Stream stream, Collectives host) {
    if (stream.device().kind() == Device.Kind.CPU || host.size(Axis.WORLD) == 1) {
      return Optional.empty();
    }
    NvidiaLibraries.Loaded library = NvidiaLibraries.load(NvidiaLibraries.Library.NCCL);
    if (!library.usable()) {
      refuse(library.reason());
    }
    host.barrier(); // to join is to wait for all, without an end
    Map<Axis, Place> places = new EnumMap<>(Axis.class);
    for (Axis axis : Axis.values()) {
      if (host.size(axis) > 1) {
        byte[] id = host.rank(axis) == 0 ? newId(stream) : null;
        places.put(axis, new Place(tell(host, axis, id), host.size(axis), host.rank(axis)));
      }
    }
    NcclCollectives joined = join(stream, places);
    host.carriedBy(joined);
    return Optional.of(joined);
  }

  private static NcclCollectives join(Stream stream, Map<Axis, Place> places) {
    return NcclCollectives.open(stream, places, RankThreads.patience(), DeviceCollectives::refuse)
        .orElseThrow();
  }

  private static byte[] newId(Stream stream) {
    stream.synchronize(); // makes the device current on this thread
    return NcclCollectives.newId(DeviceCollectives::refuse).orElseThrow();
  }

  /** The first rank's bytes, as the sum of its numbers and everybody else's zeros. */
  static byte[] tell(Collectives host, Axis axis, byte[] own) {
    double[] numbers = new double[NcclCollectives.ID_BYTES];
    for (int i = 0; own != null && i < numbers.length; i++) {
      numbers[i] = own[i];
    }
    host.sum(axis, numbers);
    byte[] bytes = new byte[numbers.length];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) numbers[i];
    }
    return bytes;
  }

  private static void refuse(String reason) {
    throw new UserError("NCCL cannot be used: " + reason);
  }
}
