package dev.caravan.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.bench.Dims;
import dev.caravan.bench.KernelBench;
import dev.caravan.bench.KernelTable;
import dev.caravan.bench.Roof;
import dev.caravan.bench.RooflinePlot;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.Cwd;
import dev.caravan.train.DeviceChoice;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan bench kernels}: time of every op, against the measured copy and product. */
@Command(name = "kernels")
final class BenchKernelsCommand implements Callable<Integer> {
  /** What an op's name begins with, before a space and a variant. */
  private static final String VARIANT = " ";

  @Mixin DeviceOptions device;

  @Option(names = "--size", paramLabel = "NAME")
  String size;

  @Option(names = "--shape", paramLabel = "EXTENT=N")
  List<String> shape = new ArrayList<>();

  @Option(names = "--op", paramLabel = "NAME")
  List<String> ops = new ArrayList<>();

  @Option(names = "--dtype", paramLabel = "f32|bf16")
  String dtype;

  @Option(names = "--samples", paramLabel = "N")
  int samples = 9;

  @Option(names = "--plot", paramLabel = "FILE.svg")
  String plot;

  @Option(names = "--json")
  boolean json;

  @Override
  public Integer call() {
    if (samples < 1) {
      throw new UserError("--samples: got " + samples + ", needs a whole number of at least 1");
    }
    List<DType> types = types();
    ops.forEach(BenchKernelsCommand::check);
    if (plot != null && !plot.endsWith(".svg")) {
      throw new UserError("--plot: got '" + plot + "', needs a file name that ends in .svg");
    }
    Dims.of(size == null ? Dims.defaultName(Device.Kind.CPU) : size).with(shape);
    DeviceChoice choice = device.choose();
    Blas.install(); // another device's products are held against the CPU's
    String name = size == null ? Dims.defaultName(choice.device().kind()) : size;
    try (Stream stream = Stream.open(choice.device(), choice.threads())) {
      Roof roof = Roof.measure(stream, samples);
      KernelBench bench = new KernelBench(stream, roof, samples);
      List<KernelBench.Result> results = new ArrayList<>();
      for (DType type : types) {
        results.addAll(bench.run(Dims.of(name).with(shape), type, this::wanted));
      }
      if (json) {
        System.out.println(toJson(choice, name, roof, results));
      } else {
        print(choice, name, roof, results);
      }
      if (plot != null) {
        String title = where(choice, name) + ", " + word(types.get(0));
        String svg = RooflinePlot.svg(title, results, roof, types.get(0));
        DurableFiles.replace(Cwd.resolve(plot), svg.getBytes(StandardCharsets.UTF_8));
      }
    }
    return Main.DONE;
  }

  private List<DType> types() {
    if (dtype == null) {
      return List.of(DType.F32, DType.BF16);
    }
    return switch (dtype) {
      case "f32" -> List.of(DType.F32);
      case "bf16" -> List.of(DType.BF16);
      default -> throw new UserError("--dtype: got '" + dtype + "', needs f32 or bf16");
    };
  }

  private static void check(String wanted) {
    List<String> names = KernelBench.ops();
    if (names.stream().noneMatch(name -> matches(name, wanted))) {
      throw new UserError("--op: " + Nearest.unknown("op", wanted, names));
    }
  }

  private static boolean matches(String name, String wanted) {
    return name.equals(wanted) || name.startsWith(wanted + VARIANT);
  }

  private boolean wanted(String name) {
    return ops.isEmpty() || ops.stream().anyMatch(wanted -> matches(name, wanted));
  }

  private static void print(
      DeviceChoice choice, String size, Roof roof, List<KernelBench.Result> results) {
    System.out.println(where(choice, size));
    System.out.println("Measured roof: copy " + KernelTable.rate(roof.copyBytesPerSecond(), "B/s"));
    roof.productFlopsPerSecond()
        .forEach(
            (type, rate) ->
                System.out.println(
                    "  product " + word(type) + " " + KernelTable.rate(rate, "FLOP/s")));
    System.out.println();
    KernelTable.lines(results, roof).forEach(System.out::println);
  }

  private static String where(DeviceChoice choice, String size) {
    String threads =
        choice.device().kind() == Device.Kind.CPU ? ", threads: " + choice.threads() : "";
    return choice.device().name() + threads + ", size " + size;
  }

  private static String word(DType type) {
    return type.name().toLowerCase(Locale.ROOT);
  }

  private static ObjectNode toJson(
      DeviceChoice choice, String size, Roof roof, List<KernelBench.Result> results) {
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    out.put("bench", "kernels");
    out.put("device", choice.device().toString()).put("device_name", choice.device().name());
    out.put("threads", choice.threads()).put("size", size);
    ObjectNode measured = out.putObject("roof");
    measured.put("copy_bytes_per_s", roof.copyBytesPerSecond());
    roof.productFlopsPerSecond()
        .forEach(
            (type, rate) -> measured.put("product_" + word(type) + "_flops_per_s", rate));
    ArrayNode list = out.putArray("results");
    for (KernelBench.Result result : results) {
      ObjectNode node =
          list.addObject()
              .put("op", result.op())
              .put("shape", result.shape())
              .put("dtype", word(result.dtype()))
              .put("bytes", result.cost().bytes())
              .put("flops", result.cost().flops());
      if (result.seconds().isEmpty()) {
        node.put("refusal", result.refusal());
        continue;
      }
      double seconds = result.seconds().get();
      node.put("seconds", seconds)
          .put("bytes_per_s", result.cost().bytes() / seconds)
          .put("flops_per_s", result.cost().flops() / seconds)
          .put("roof_share", result.share());
      result.ours().ifPresent(ratio -> node.put("ours_to_vendor", ratio));
    }
    return out;
  }
}
