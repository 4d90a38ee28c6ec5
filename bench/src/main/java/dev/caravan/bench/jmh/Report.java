package dev.caravan.bench.jmh;

import dev.caravan.bench.Dims;
import dev.caravan.bench.KernelBench;
import dev.caravan.bench.KernelRun;
import dev.caravan.bench.KernelTable;
import dev.caravan.bench.Roof;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * Runs the kernel benches under JMH and prints their rates as shares of the copy and the product that were
 * measured before and after, in the same run. Takes JMH's own options, such as {@code -p op=attention -p
 * size=1b -f 3 -rff results.json}; without {@code -p op} all ops run.
 */
public final class Report {
  private static final int ROOF_SAMPLES = 9;

  private Report() {}

  /** See the class. */
  public static void main(String[] arguments) throws RunnerException, CommandLineOptionException {
    Blas.install();
    CommandLineOptions given = new CommandLineOptions(arguments);
    ChainedOptionsBuilder options =
        new OptionsBuilder()
            .parent(given)
            .include(KernelBenchmark.class.getName());
    if (given.getResult().hasValue()) {
      options.resultFormat(ResultFormatType.JSON);
    }
    if (!given.getParameter("op").hasValue()) {
      options.param("op", KernelBench.ops().toArray(String[]::new));
    }
    try (Stream stream = Stream.open(Device.CPU, threads(given))) {
      Roof before = Roof.measure(stream, ROOF_SAMPLES);
      List<RunResult> results = new ArrayList<>(new Runner(options.build()).run());
      Roof roof = before.better(Roof.measure(stream, ROOF_SAMPLES));
      lines(results, roof, stream).forEach(System.out::println);
    }
  }

  /** The threads that the benches are asked to use, or their default. */
  static int threads(CommandLineOptions given) {
    return given.getParameter("threads").hasValue()
        ? Integer.parseInt(given.getParameter("threads").get().iterator().next())
        : 2;
  }

  /** The table, and above it on what it was measured. */
  static List<String> lines(List<RunResult> results, Roof roof, Stream stream) {
    List<KernelBench.Result> rows = new ArrayList<>();
    Set<String> conditions = new TreeSet<>();
    for (RunResult result : results) {
      BenchmarkParams params = result.getParams();
      double seconds = result.getPrimaryResult().getScore() * 1e-6;
      DType dtype = DType.valueOf(params.getParam("dtype"));
      Dims dims = Dims.of(params.getParam("size"));
      conditions.add(
          "size " + params.getParam("size") + ", threads " + params.getParam("threads"));
      rows.add(KernelRun.result(params.getParam("op"), dims, dtype, seconds, roof));
    }
    List<String> lines = new ArrayList<>();
    lines.add(stream.device().name() + ": " + String.join("; ", conditions));
    lines.add("Measured roof: copy " + KernelTable.rate(roof.copyBytesPerSecond(), "B/s"));
    roof.productFlopsPerSecond()
        .forEach(
            (type, rate) ->
                lines.add("  product " + type + " " + KernelTable.rate(rate, "FLOP/s")));
    lines.add("");
    lines.addAll(KernelTable.lines(rows, roof));
    return lines;
  }
}
