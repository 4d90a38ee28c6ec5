package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Event;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.kernels.nvidia.CublasLt;
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
 * @param links between devices
 */
public record Machine(
    String name,
    Device.Kind kind,
    long memoryBytes,
    double flopsPerSecond,
    double bytesPerSecond,
    Links links) {
  /**
   * How fast devices reach each other.
   *
   * @param devices of one node
   * @param withinNode bytes per second that a device sends to others of its node
   * @param betweenNodes bytes per second that a device sends to others elsewhere
   */
  public record Links(int devices, double withinNode, double betweenNodes) {
    /**
     * What one device of a group sends per second in exchanges by rings, beside those of all other groups of
     * its kind. There are as many rings as the group has devices in a node, each leaves the node once and
     * through another device, so these devices' ports carry together what one of them sends. A group within
     * a node has the node's links.
     *
     * @param ranks all there are, a device each, the nodes filled in their order
     * @param stride from one member of the group to the next
     * @param members of the group
     */
    public double bytesPerSecond(int ranks, int stride, int members) {
      boolean within = ranks <= devices || devices % ((long) stride * members) == 0;
      return within
          ? withinNode
          : Math.min(withinNode, Math.max(1, devices / stride) * betweenNodes);
    }
  }

  /** The name of the machine at hand. */
  public static final String THIS = "this";

  private static final int LARGEST_PRODUCT = 8192;

  /** A product of so many seconds shows the device's rate rather than the cost of a launch. */
  private static final double LONG_ENOUGH = 1e-3;

  /** What the clocks can tell, in seconds. */
  private static final double SHORTEST = 1e-7;

  private static final long CPU_COPY = 64L << 20;
  private static final long CUDA_COPY = 256L << 20;

  /**
   * Data-sheet rates for dense bfloat16 products and for memory; one direction of NVLink; and of the
   * network one port of InfiniBand for each GPU, HDR for A100 and NDR for the others, as in NVIDIA's own
   * nodes of eight.
   */
  private static final Map<String, Machine> KNOWN = new LinkedHashMap<>();

  static {
    know("a100-80", 80, 312e12, 2.04e12, new Links(8, 300e9, 25e9));
    know("h100", 80, 989e12, 3.35e12, new Links(8, 450e9, 50e9));
    know("h200", 141, 989e12, 4.8e12, new Links(8, 450e9, 50e9));
  }

  private static void know(String name, int gigabytes, double flops, double bytes, Links links) {
    KNOWN.put(
        name,
        new Machine(name, Device.Kind.CUDA, gigabytes * 1_000_000_000L, flops, bytes, links));
  }

  /**
   * A bundled machine by name, or one described by a YAML file with the keys name, kind (cpu or
   * cuda), memory_bytes, flops_per_second and bytes_per_second; for several devices also
   * devices_per_node, link_bytes_per_second and network_bytes_per_second, of one device in one direction.
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
          positive(file, tree, "bytes_per_second"),
          links(file, tree));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    } catch (IllegalArgumentException e) {
      throw new UserError(file + ": kind: needs cpu or cuda", e);
    }
  }

  /** Keys that one device does not need: where they are missing, exchanges take for ever. */
  private static Links links(Path file, JsonNode tree) {
    boolean any = tree.has("link_bytes_per_second") || tree.has("network_bytes_per_second");
    return any
        ? new Links(
            positive(file, tree, "devices_per_node").intValue(),
            positive(file, tree, "link_bytes_per_second"),
            positive(file, tree, "network_bytes_per_second"))
        : new Links(0, 0, 0);
  }

  private static Double positive(Path file, JsonNode tree, String key) {
    JsonNode value = tree.path(key);
    if (!value.isNumber() || !(value.asDouble() > 0)) {
      throw new UserError(file + ": " + key + ": needs a number above 0");
    }
    return value.asDouble();
  }

  /**
   * The device at hand, its rates measured: products of square matrices in the dtype of a run, doubled in
   * size until one takes a while, and copies on the device; the best of some runs each, together about a
   * second.
   *
   * @param memoryBytes of the device
   * @param storage dtype of weights and activations
   */
  public static Machine measured(Stream stream, long memoryBytes, DType storage) {
    double copies = copyRate(stream);
    // Threads exchange through memory: what one sends, it or another reads and writes.
    Links links = new Links(Integer.MAX_VALUE, copies / 2, copies / 2);
    return new Machine(
        THIS, stream.device().kind(), memoryBytes, productRate(stream, storage), copies, links);
  }

  private static double productRate(Stream stream, DType storage) {
    double rate = 0;
    double seconds = 0;
    for (int n = 512; n <= LARGEST_PRODUCT && seconds < LONG_ENOUGH; n *= 2) {
      seconds = product(stream, n, storage);
      rate = Math.max(rate, 2.0 * n * n * n / seconds);
    }
    return rate;
  }

  private static double product(Stream stream, int n, DType storage) {
    long bytes = (long) n * n * storage.bytes();
    try (Products products = CublasLt.open(stream, reason -> {}).orElse(Products.ABI);
        Memory memory = Memory.allocate(stream.device(), 3 * bytes);
        KernelCall call =
            products.prepare(
                new Product(
                    TensorRef.in(memory, 0, storage, n, n),
                    false,
                    TensorRef.in(memory, bytes, storage, n, n),
                    true,
                    TensorRef.in(memory, 2 * bytes, storage, n, n),
                    null,
                    1,
                    0));
        Memory workspace =
            Memory.allocate(
                stream.device(), Math.max(1, call.workspaceBytes(stream.device().kind())))) {
      stream.fill(memory.address(), 0, memory.bytes());
      call.workspace(workspace.address(), workspace.bytes());
      return best(stream, () -> call.run(stream), 10);
    }
  }

  private static double copyRate(Stream stream) {
    boolean cuda = stream.device().kind() == Device.Kind.CUDA;
    long bytes = cuda ? CUDA_COPY : CPU_COPY;
    try (Memory memory = Memory.allocate(stream.device(), 2 * bytes)) {
      return 2.0
          * bytes
          / best(stream, () -> stream.copy(memory.address(), memory.address() + bytes, bytes), 5);
    }
  }

  /** The shortest of several runs, in seconds, by the stream's own clock. */
  private static double best(Stream stream, Runnable work, int runs) {
    double best = Double.MAX_VALUE;
    try (Event began = Event.open(stream.device());
        Event ended = Event.open(stream.device())) {
      for (int i = 0; i < runs; i++) {
        began.record(stream);
        work.run();
        ended.record(stream);
        stream.synchronize();
        best = Math.min(best, began.millisecondsTo(ended) * 1e-3);
      }
    }
    return Math.max(best, SHORTEST);
  }
}
