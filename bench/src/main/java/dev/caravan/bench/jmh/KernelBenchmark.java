package dev.caravan.bench.jmh;

import dev.caravan.bench.Dims;
import dev.caravan.bench.KernelRun;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * One op on the CPU, through the prepared call as a training step runs it. The cases are those of
 * {@code caravan bench kernels}; {@link Report} turns the times into rates.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class KernelBenchmark {
  /** An op's name; its default is every op, which {@link Report} fills in. */
  @Param("rmsnorm")
  public String op;

  /** Storage type. */
  @Param({"F32", "BF16"})
  public DType dtype;

  /** A size of {@link Dims#of}. */
  @Param("15m")
  public String size;

  /** Threads of the stream. */
  @Param("2")
  public int threads;

  private Stream stream;
  private KernelRun run;

  /** Prepares the op and checks what it computes. */
  @Setup
  public void open() {
    Blas.install();
    stream = Stream.open(Device.CPU, threads);
    run = new KernelRun(op, Dims.of(size), dtype, stream);
  }

  /** One call. */
  @Benchmark
  public void call() {
    run.run();
  }

  /** Frees it. */
  @TearDown
  public void close() {
    run.close();
    stream.close();
  }
}
