package dev.caravan.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.train.Machine;
import dev.caravan.train.PlanReport;
import dev.caravan.train.Planning;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunPlan;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code caravan plan}: what a run would take, without training. */
@Command(name = "plan")
final class PlanCommand implements Callable<Integer> {
  @Mixin RunOptions run;
  @Mixin DeviceOptions device;

  @Option(names = "--machine", paramLabel = "NAME|FILE")
  String machine = Machine.THIS;

  @Option(names = "--gpus", paramLabel = "N")
  int gpus;

  @Spec CommandSpec spec;

  @Option(names = "--json")
  boolean json;

  @Override
  public Integer call() {
    RunConfig config = run.read();
    int tensor = config.parallel().tensor();
    int ranks = config.parallel().data() * tensor;
    if (spec.commandLine().getParseResult().hasMatchedOption("--gpus")) {
      if (gpus < 1) {
        throw new UserError("--gpus: got " + gpus + ", needs a whole number of at least 1");
      }
      if (ranks > tensor && ranks != gpus) {
        throw new UserError(
            "--gpus: got %d, but parallel.data is %d; needs one of them only"
                .formatted(gpus, ranks / tensor));
      }
      if (gpus % tensor != 0) {
        throw new UserError(
            "--gpus: got " + gpus + ", needs a multiple of parallel.tensor, " + tensor);
      }
      config = config.withDataRanks(gpus / tensor);
    }
    Planning.Planned planned =
        Planning.plan(config, machine, device.choose(), line -> System.err.println(line));
    if (json) {
      System.out.println(toJson(planned));
    } else {
      print(planned);
    }
    return Main.DONE;
  }

  private static ObjectNode toJson(Planning.Planned planned) {
    PlanReport report = planned.report();
    RunPlan.Bytes bytes = report.bytes();
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    out.put("params_total", report.paramsTotal());
    out.put("params_active", report.paramsActive());
    out.put("flops_per_token", report.flopsPerToken());
    out.putObject("bytes")
        .put("weights", bytes.weights())
        .put("gradients", bytes.gradients())
        .put("optimizer", bytes.optimizer())
        .put("activations", bytes.activations())
        .put("workspace", bytes.workspace())
        .put("total", bytes.total());
    out.put("ranks", report.ranks());
    out.put("wire_bytes_per_step", report.wireBytesPerStep());
    out.put("wire_seconds", report.wireSeconds());
    ObjectNode wire = out.putObject("wire");
    for (PlanReport.Exchange exchange : report.exchanges()) {
      wire.putObject(name(exchange))
          .put("ranks", exchange.ranks())
          .put("bytes", exchange.bytes())
          .put("bytes_per_second", exchange.bytesPerSecond())
          .put("seconds", exchange.seconds());
    }
    out.put("step_seconds", report.stepSeconds());
    out.put("machine", planned.machine().name());
    out.put("tokens_per_step", report.tokensPerStep());
    out.put("tokens_per_second_per_device", report.tokensPerSecond());
    report
        .run()
        .ifPresent(
            run ->
                out.putObject("run")
                    .put("steps", run.steps())
                    .put("tokens", run.tokens())
                    .put("flops", run.flops())
                    .put("flops_by_parameters", run.flopsByParameters()));
    report
        .published()
        .ifPresent(
            p -> {
              out.putObject("published")
                  .put("tokens_per_second_per_device", p.tokensPerSecond())
                  .put("devices", p.devices())
                  .put("source", p.source())
                  .put("plan_times", report.tokensPerSecond() / p.tokensPerSecond());
            });
    out.put("micro_batch_tokens", planned.microBatchTokens());
    out.put("recompute", planned.recompute());
    out.put("bytes_per_parameter", report.bytesPerParameter());
    planned
        .data()
        .ifPresent(
            data ->
                out.putObject("data")
                    .put("rows", data.rows())
                    .put("tokens_per_row", data.meanTokens())
                    .put("steps_looked_at", data.packing().steps())
                    .put("padding_share", data.packing().paddingShare())
                    .put("target_share", data.packing().targetShare()));
    planned.vocabulary().ifPresent(words -> out.put("vocabulary", words));
    planned.estimate().ifPresent(words -> out.put("estimate", words));
    return out;
  }

  private static void print(Planning.Planned planned) {
    PlanReport report = planned.report();
    RunPlan.Bytes bytes = report.bytes();
    planned.estimate().ifPresent(words -> line("estimate", "%s", words));
    line("parameters", "%,d", report.paramsTotal());
    if (report.paramsActive() != report.paramsTotal()) {
      line("active", "%,d in one token", report.paramsActive());
    }
    line("FLOPs per token", "%.4g", report.flopsPerToken());
    line("micro-batch", "%,d tokens", planned.microBatchTokens());
    planned
        .data()
        .ifPresent(
            data ->
                line(
                    "data",
                    "%,d rows, mean %.1f tokens; buffers %.1f %% padding",
                    data.rows(),
                    data.meanTokens(),
                    100 * data.packing().paddingShare()));
    line("recompute", "%s", planned.recompute());
    planned.vocabulary().ifPresent(words -> line("vocabulary", "%s", words));
    line("weights", "%,d bytes", bytes.weights());
    line("gradients", "%,d bytes", bytes.gradients());
    line("optimizer", "%,d bytes", bytes.optimizer());
    line("activations", "%,d bytes", bytes.activations());
    line("workspace", "%,d bytes", bytes.workspace());
    line("total", "%,d bytes on one device", bytes.total());
    if (report.ranks() > 1) {
      line("ranks", "%,d, each on a device of its own", report.ranks());
      line(
          "wire",
          "%,d bytes that a rank sends in a step, %.3g s at the stated rates",
          report.wireBytesPerStep(),
          report.wireSeconds());
      for (PlanReport.Exchange exchange : report.exchanges()) {
        line(
            "  " + name(exchange),
            "%,d bytes within %,d ranks, %.3g s at %.3g GB/s",
            exchange.bytes(),
            exchange.ranks(),
            exchange.seconds(),
            exchange.bytesPerSecond() * 1e-9);
      }
    }
    line("per parameter", "%.2f bytes of weight, gradient and moments", report.bytesPerParameter());
    line(
        "step",
        "%.3g s for %,d tokens on machine '%s'",
        report.stepSeconds(),
        report.tokensPerStep(),
        planned.machine().name());
    line("speed", "%,.0f tokens/s of a device, at the stated rates", report.tokensPerSecond());
    report
        .run()
        .ifPresent(
            run -> {
              line("run", "%,d steps, %.4g tokens", run.steps(), run.tokens());
              line(
                  "FLOPs of it",
                  "%.3g (%.3g by 6 for each parameter and token)",
                  run.flops(),
                  run.flopsByParameters());
            });
    report
        .published()
        .ifPresent(
            p ->
                line(
                    "published",
                    "%,.0f tokens/s of a device%s (%s): the plan says %.2f times as many",
                    p.tokensPerSecond(),
                    p.devices() == 0 ? "" : " of " + p.devices(),
                    p.source(),
                    report.tokensPerSecond() / p.tokensPerSecond()));
  }

  /** Of the group that exchanges it. */
  private static String name(PlanReport.Exchange exchange) {
    return exchange.axis().name().toLowerCase(Locale.ROOT);
  }

  private static void line(String name, String format, Object... values) {
    System.out.printf("%-16s %s%n", name, String.format(Locale.ROOT, format, values));
  }
}
