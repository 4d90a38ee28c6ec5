package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.nvidia.CublasLt;
import dev.caravan.kernels.nvidia.NvidiaLibraries;
import java.util.Locale;

/**
 * The device of a run, and why it is this one.
 *
 * @param device what computes
 * @param threads threads of the CPU
 * @param line one line for the user: which device, and why
 */
public record DeviceChoice(Device device, int threads, String line) {

  /**
   * Chooses a device.
   *
   * @param wish cpu, cuda or cuda:N; empty means cuda where a usable GPU is there, else cpu
   * @param threads threads of the CPU
   * @throws UserError if the wish is none of these or is not there
   */
  public static DeviceChoice of(String wish, int threads) {
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
    int index = wish.startsWith("cuda:") ? Integer.parseInt(wish.substring(5)) : 0;
    if (index >= probe.count()) {
      throw new UserError(
          "--device " + wish + ": this machine has " + probe.count() + " usable GPU(s), from 0");
    }
    Device device = Device.cuda(index);
    String why = wish.isEmpty() ? "a usable GPU is there" : "as asked";
    return new DeviceChoice(device, threads, describe(device, why + "; " + products()));
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
    return new DeviceChoice(Device.CPU, threads, describe(Device.CPU, word + "; " + why));
  }

  private static String describe(Device device, String why) {
    double gib = device.memoryBytes() / (double) (1L << 30);
    return String.format(
        Locale.ROOT, "device: %s (%s, %.1f GiB), %s", device, device.name(), gib, why);
  }
}
