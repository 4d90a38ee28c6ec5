package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.MatMul;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a plan needs to know of a machine.
 *
 * @param name for people
 * @param kind of its devices
 * @param memoryBytes of one device
 * @param flopsPerSecond of matrix products on one device, at the run's precision
 * @param bytesPerSecond of one device's memory, reads and writes together
 */
public record Machine(
    String name, Device.Kind kind, long memoryBytes, double flopsPerSecond, double bytesPerSecond) {
  /** The name of the machine at hand. */
  public static final String THIS = "this";

  /** Data-sheet rates for dense bfloat16 products and for memory. */
  private static final Map<String, Machine> KNOWN = new LinkedHashMap<>();

  static {
    know("a100-80", 80, 312e12, 2.04e12);
    know("h100", 80, 989e12, 3.35e12);
    know("h200", 141, 989e12, 4.8e12);
  }

  private static void know(String name, int gigabytes, double flops, double bytes) {
    KNOWN.put(
        name, new Machine(name, Device.Kind.CUDA, gigabytes * 1_000_000_000L, flops, bytes));
  }

  /**
   * A bundled machine by name, or one described by a YAML file with the keys name, kind (cpu or
   * cuda), memory_bytes, flops_per_second and bytes_per_second.
   *
   * @throws UserError if there is neither
   */
  public static Machine of(String nameOrFile) {
    Machine known = KNOWN.get(nameOrFile);
    if (known != null) {
      return known;
    }
    Path file = Cwd.resolve(nameOrFile);
    if (Files.isRegularFile(file)) {
      return read(file);
    }
    List<String> names = new ArrayList<>(KNOWN.keySet());
    names.add(THIS);
    throw new UserError(Nearest.unknown("machine", nameOrFile, names) + "; or give a file");
  }

  private static Machine read(Path file) {
    try {
      JsonNode tree = new YAMLMapper().readTree(Files.readString(file));
      return new Machine(
          tree.path("name").asText(file.getFileName().toString()),
          Device.Kind.valueOf(tree.path("kind").asText("cuda").toUpperCase(java.util.Locale.ROOT)),
          positive(file, tree, "memory_bytes").longValue(),
          positive(file, tree, "flops_per_second"),
          positive(file, tree, "bytes_per_second"));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    } catch (IllegalArgumentException e) {
      throw new UserError(file + ": kind: needs cpu or cuda", e);
    }
  }

  private static Double positive(Path file, JsonNode tree, String key) {
    JsonNode value = tree.path(key);
    if (!value.isNumber() || !(value.asDouble() > 0)) {
      throw new UserError(file + ": " + key + ": needs a number above 0");
    }
    return value.asDouble();
  }

  /**
   * The processor at hand, its rates measured: the best of some products of 512 x 512 x 512 and of some
   * copies of 64 MiB, together under a second.
   */
  public static Machine measured(Stream stream, long memoryBytes) {
    return new Machine(
        THIS, Device.Kind.CPU, memoryBytes, productRate(stream), copyRate(stream));
  }

  private static double productRate(Stream stream) {
    int n = 512;
    long bytes = (long) n * n * Float.BYTES;
    try (Memory memory = Memory.allocate(Device.CPU, 3 * bytes);
        KernelCall call =
            MatMul.forward(
                TensorRef.in(memory, 0, DType.F32, n, n),
                false,
                TensorRef.in(memory, bytes, DType.F32, n, n),
                true,
                TensorRef.in(memory, 2 * bytes, DType.F32, n, n),
                null,
                1,
                0)) {
      return 2.0 * n * n * n / best(() -> call.run(stream), 20);
    }
  }

  private static double copyRate(Stream stream) {
    long bytes = 64L << 20;
    try (Memory memory = Memory.allocate(Device.CPU, 2 * bytes)) {
      return 2.0
          * bytes
          / best(() -> stream.copy(memory.address(), memory.address() + bytes, bytes), 5);
    }
  }

  /** The shortest of several runs, in seconds. */
  private static double best(Runnable work, int runs) {
    double best = Double.MAX_VALUE;
    for (int i = 0; i < runs; i++) {
      long began = System.nanoTime();
      work.run();
      best = Math.min(best, (System.nanoTime() - began) * 1e-9);
    }
    return best;
  }
}
