package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NcclCollectives;
import java.time.Duration;
import java.util.Map;
import java.util.function.Consumer;

/** Groups of ranks on GPUs. */
public final class DeviceCollectives {
  private static final Duration PATIENCE = Duration.ofMinutes(10);

  private DeviceCollectives() {}

  /**
   * A group of one on an axis, which exchanges through NCCL all the same.
   *
   * @throws UserError if NCCL cannot be used, with the reason
   */
  public static Collectives alone(Stream stream, Axis axis) {
    Consumer<String> refuse =
        reason -> {
          throw new UserError("NCCL cannot be used: " + reason);
        };
    stream.synchronize(); // makes the device current on this thread
    byte[] id = NcclCollectives.newId(refuse).orElseThrow();
    return NcclCollectives.open(
            stream, Map.of(axis, new NcclCollectives.Place(id, 1, 0)), PATIENCE, refuse)
        .orElseThrow();
  }
}
