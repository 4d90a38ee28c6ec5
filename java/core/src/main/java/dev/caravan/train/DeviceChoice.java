package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.nvidia.CublasLt;
import dev.caravan.kernels.nvidia.NvidiaLibraries;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * The device of a run, and why it is this one.
 *
 * @param device what computes; of a run with several ranks the first one's
 * @param certain whether this one GPU was asked for, so that another will not do
 * @param threads threads of the CPU
 * @param local this process's number among those that a launcher started on this node, from 0
 * @param line one line for the user: which device, and why
 */
public record DeviceChoice(
    Device device, boolean certain, int threads, int local, String line) {

  /** As {@link #of(String, int, OptionalInt)}, in a process that no launcher started. */
  public static DeviceChoice of(String wish, int threads) {
    return of(wish, threads, OptionalInt.empty());
  }

  /**
   * Chooses a device.
   *
   * @param wish cpu, cuda or cuda:N; empty means cuda where a usable GPU is there, else cpu
   * @param threads threads of the CPU
   * @param local this process's number among those that a launcher started on this node: which GPU is its
   *     own, unless the launcher lets it see one only
   * @throws UserError if the wish is none of these or is not there
   */
  public static DeviceChoice of(String wish, int threads, OptionalInt local) {
    if (wish.equals("cpu")) {
      return cpu(threads, "as asked");
    }
    boolean anyCuda = wish.equals("cuda");
    if (!wish.isEmpty() && !anyCuda && !wish.matches("cuda:[0-9]{1,4}")) {
      throw new UserError("--device: got '" + wish + "', needs cpu, cuda or cuda:N");
    }
    Device.Probe probe = Device.probe(Device.Kind.CUDA);
    if (wish.isEmpty() && probe.count() == 0) {
      return cpu(threads, "no CUDA because " + probe.reason());
    }
    if (probe.count() == 0) {
      throw new UserError("--device " + wish + ": no CUDA because " + probe.reason());
    }
    boolean certain = wish.startsWith("cuda:");
    int index = certain ? Integer.parseInt(wish.substring(5)) : probe.count() == 1 ? 0 : local.orElse(0);
    if (index >= probe.count()) {
      String who = certain ? "--device " + wish : "process " + index + " of this node";
      throw new UserError(who + ": this machine has " + probe.count() + " usable GPU(s), from 0");
    }
    Device device = Device.cuda(index);
    String why = wish.isEmpty() ? "a usable GPU is there" : "as asked";
    return new DeviceChoice(
        device, certain, threads, local.orElse(0), describe(device, why + "; " + products()));
  }

  /**
   * The devices of ranks that are threads of this process: the CPU for all, or a GPU for each. Where the
   * process sees just as many GPUs, they are its own; where it sees more, it leaves as many to each
   * process of this node before it.
   *
   * @throws UserError if there are fewer GPUs
   */
  public List<Device> ofRanks(int ranks) {
    if (device.kind() == Device.Kind.CPU || ranks == 1) {
      return Collections.nCopies(ranks, device);
    }
    int count = Device.probe(Device.Kind.CUDA).count();
    int first = first(local, ranks, count);
    if (certain || count < first + ranks) {
      throw new UserError(
          "%d ranks need %d GPUs%s, %s; --device cpu has them as threads"
              .formatted(
                  ranks,
                  ranks,
                  first == 0 ? "" : " behind those of %d processes before".formatted(local),
                  certain ? device + " is one" : "this machine has " + count));
    }
    return IntStream.range(first, first + ranks).mapToObj(Device::cuda).toList();
  }

  /** The first GPU of this node's local-th process, where each has ranks and this one sees count GPUs. */
  static int first(int local, int ranks, int count) {
    return count == ranks ? 0 : Math.multiplyExact(local, ranks);
  }

  /** Who computes matrix products on a GPU, said once. */
  private static String products() {
    NvidiaLibraries.Loaded library = NvidiaLibraries.load(NvidiaLibraries.Library.CUBLASLT);
    return library.usable()
        ? "matrix products by " + CublasLt.describe(library.version())
        : "matrix products by Caravan's own kernel, no cuBLASLt because " + library.reason();
  }

  private static DeviceChoice cpu(int threads, String why) {
    String word = threads == 1 ? "1 thread" : threads + " threads";
    return new DeviceChoice(Device.CPU, false, threads, 0, describe(Device.CPU, word + "; " + why));
  }

  private static String describe(Device device, String why) {
    double gib = device.memoryBytes() / (double) (1L << 30);
    return String.format(
        Locale.ROOT, "device: %s (%s, %.1f GiB), %s", device, device.name(), gib, why);
  }
}
