package dev.caravan.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.bench.KernelTable;
import dev.caravan.bench.TrainBench;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.RunConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code caravan bench train}: speed and memory of a training run on random tokens. */
@Command(name = "train")
final class BenchTrainCommand implements Callable<Integer> {
  @Mixin DeviceOptions device;

  @Parameters(index = "0", arity = "0..1", paramLabel = "RECIPE")
  String recipe = "llama-15m";

  @Option(names = "--set", paramLabel = "KEY=VALUE")
  List<String> assignments = new ArrayList<>();

  @Option(names = "--steps", paramLabel = "N")
  int steps = 8;

  @Option(names = "--profile")
  boolean profile;

  @Option(names = "--json")
  boolean json;

  @Override
  public Integer call() {
    if (steps < 1) {
      throw new UserError("--steps: got " + steps + ", needs a whole number of at least 1");
    }
    RunConfig config = Recipes.read(recipe, assignments);
    DeviceChoice choice = device.choose();
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    try (Stream stream = Stream.open(choice.device(), choice.threads())) {
      TrainBench.Result result = TrainBench.run(config, choice, stream, steps, profile);
      if (json) {
        System.out.println(toJson(choice, result));
      } else {
        print(choice, result);
      }
    }
    return Main.DONE;
  }

  private void print(DeviceChoice choice, TrainBench.Result r) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(List.of(recipe, "measured"));
    row(rows, "device", "%s", choice.device().name());
    if (choice.device().kind() == Device.Kind.CPU) {
      row(rows, "threads", "%d", choice.threads());
    }
    row(rows, "parameters", "%,d, %s", r.parameters(), word(r));
    row(rows, "a step", "%,d tokens in rows of %,d", r.stepTokens(), r.sequence());
    row(rows, "seconds/step", "%.3f, median of %d", r.median(), r.seconds().size());
    row(rows, "tokens/s", "%,.0f", r.tokensPerSecond());
    row(
        rows,
        "FLOP/s",
        "%s, %.0f %% of a product's %s",
        KernelTable.rate(r.tokensPerSecond() * r.flopsPerToken(), "FLOP/s"),
        100 * r.productShare(),
        KernelTable.rate(r.productRate(), "FLOP/s"));
    r.javaShare()
        .ifPresent(share -> row(rows, "Java's share", "%.2f %% of a step", 100 * share));
    row(rows, "device memory", "%,d bytes", r.deviceBytes());
    row(rows, "host peak", "%,d bytes, the JVM included", r.hostPeakBytes());
    KernelTable.markdown(rows, 2).forEach(System.out::println);
    r.profile().ifPresent(BenchTrainCommand::print);
  }

  private static void print(Map<String, Double> shares) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(List.of("part of a step", "share"));
    shares.forEach((part, share) -> row(rows, part, "%.1f %%", 100 * share));
    System.out.println();
    KernelTable.markdown(rows, 1).forEach(System.out::println);
  }

  private static void row(List<List<String>> rows, String name, String format, Object... values) {
    rows.add(List.of(name, String.format(Locale.ROOT, format, values)));
  }

  private static String word(TrainBench.Result r) {
    return r.storage().name().toLowerCase(Locale.ROOT);
  }

  private ObjectNode toJson(DeviceChoice choice, TrainBench.Result r) {
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    out.put("bench", "train").put("recipe", recipe);
    out.put("device", choice.device().toString()).put("device_name", choice.device().name());
    out.put("threads", choice.threads()).put("dtype", word(r));
    out.put("parameters", r.parameters()).put("sequence", r.sequence());
    out.put("tokens_per_step", r.stepTokens()).put("seconds_per_step", r.median());
    out.put("tokens_per_s", r.tokensPerSecond()).put("flops_per_token", r.flopsPerToken());
    out.put("product_flops_per_s", r.productRate()).put("product_share", r.productShare());
    r.javaShare().ifPresent(share -> out.put("java_share", share));
    out.put("device_bytes", r.deviceBytes()).put("host_peak_bytes", r.hostPeakBytes());
    ArrayNode seconds = out.putArray("seconds");
    r.seconds().forEach(seconds::add);
    ArrayNode losses = out.putArray("losses");
    r.losses().forEach(losses::add);
    r.profile().ifPresent(shares -> shares.forEach(out.putObject("profile")::put));
    r.ops().ifPresent(ops -> ops.forEach(out.putObject("op_seconds")::put));
    return out;
  }
}
