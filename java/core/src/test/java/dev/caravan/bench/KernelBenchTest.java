package dev.caravan.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.kernels.abi.Caravan;
import java.io.ByteArrayInputStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class KernelBenchTest {
  private static final Roof ROOF = new Roof(1e10, Map.of(DType.F32, 1e11, DType.BF16, 2e11));

  @BeforeAll
  static void install() {
    Blas.install();
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void everyOpGivesFiniteValuesAndATime(DType dtype) {
    long before = Memory.stats().liveBytes();
    try (Stream stream = Stream.open(Device.CPU, 2)) {
      KernelBench bench = new KernelBench(stream, ROOF, 1);
      List<KernelBench.Result> results = bench.run(Dims.of("tiny"), dtype, op -> true);
      assertEquals(
          KernelBench.ops(), results.stream().map(KernelBench.Result::op).toList());
      for (KernelBench.Result result : results) {
        assertEquals("", result.refusal(), result.op());
        assertTrue(result.seconds().orElseThrow() > 0, result.op());
        assertTrue(result.share() > 0, result.op());
        assertTrue(result.cost().bytes() > 0, result.op());
      }
    }
    assertEquals(before, Memory.stats().liveBytes());
  }

  /** Cases are named by the op, with what tells them apart behind it; a gradient is another case. */
  @Test
  void everyOpOfTheAbiHasACase() {
    Map<String, Integer> cases = new TreeMap<>();
    KernelBench.ops().forEach(op -> cases.merge(op.split(" ")[0], 1, Integer::sum));
    Set<String> known = new TreeSet<>();
    Pattern call = Pattern.compile("caravan_(\\w+)_(forward|backward|step)");
    for (Method method : Caravan.class.getMethods()) {
      Matcher name = call.matcher(method.getName());
      if (name.matches()) {
        known.add(name.group(1));
        int least = name.group(2).equals("backward") ? 2 : 1;
        assertTrue(cases.getOrDefault(name.group(1), 0) >= least, method.getName());
      }
    }
    assertEquals(known, cases.keySet());
  }

  @Test
  void onlyWantedOpsRun() {
    try (Stream stream = Stream.open(Device.CPU, 1)) {
      List<KernelBench.Result> results =
          new KernelBench(stream, ROOF, 1).run(Dims.of("tiny"), DType.F32, "rmsnorm"::equals);
      assertEquals(List.of("rmsnorm"), results.stream().map(KernelBench.Result::op).toList());
    }
  }

  @Test
  void anOutputThatIsNeverWrittenIsNoticed() {
    try (Stream stream = Stream.open(Device.CPU, 1);
        Bed bed = new Bed(stream)) {
      bed.output(DType.F32, 3, 5);
      assertFalse(bed.outputsAreFinite());
    }
    try (Stream stream = Stream.open(Device.CPU, 1);
        Bed bed = new Bed(stream)) {
      bed.output(DType.BF16, 7);
      assertFalse(bed.outputsAreFinite());
    }
    try (Stream stream = Stream.open(Device.CPU, 1);
        Bed bed = new Bed(stream)) {
      TensorRef none = bed.output(DType.I32, 7);
      assertFalse(bed.outputsAreFinite());
      stream.fill(none.address(), 0xff, none.bytes());
      assertTrue(bed.outputsAreFinite(), "-1 says that there is none");
      assertEquals(-1, bed.read().get(0)[6]);
    }
  }

  @Test
  void aBedGivesTheSameNumbersToEveryDeviceAndType() {
    long elements = (17 << 20) / 2; // beyond one window of bfloat16
    try (Stream stream = Stream.open(Device.CPU, 1);
        Bed bed = new Bed(stream);
        Bed other = new Bed(stream)) {
      TensorRef narrow = bed.random(DType.BF16, elements);
      TensorRef wide = other.random(DType.F32, 1000);
      TensorRef widened = bed.output(DType.F32, elements);
      bed.run(bed.ready(Elementwise.cast(narrow, widened)));
      float[] values = bed.read().get(0);
      java.nio.FloatBuffer expected =
          Memory.hostView(wide.address(), (int) wide.bytes()).asFloatBuffer();
      for (int i = 0; i < 1000; i++) {
        assertEquals(expected.get(i), values[i]);
      }
      int window = (1 << 24) / 2;
      assertEquals(values[0], values[window]);
      assertEquals(values[5], values[window + 5]);
    }
  }

  @Test
  void differencesAreRelativeAndNotANumberIsNone() {
    assertEquals(0.5, KernelBench.difference(new float[] {1, 4}, new float[] {2, 2}) / 2, 1e-9);
    assertFalse(KernelBench.difference(new float[] {Float.NaN, 1}, new float[] {1, 1}) <= 1);
    assertFalse(KernelBench.difference(new float[] {1, Float.NaN}, new float[] {1, 1}) <= 1);
  }

  @Test
  void costsAreThoseOfTheFormulas() {
    Cost product = Cost.product(3, 5, 7, DType.BF16, DType.F32, true);
    assertEquals(2 * 3 * 5 * 7, product.flops());
    assertEquals((3 * 7 + 7 * 5) * 2 + 2 * 3 * 5 * 4, product.bytes());
    Cost forward = Cost.attention(4, 2, 1, 8, DType.F32, false);
    assertEquals(2 * (4 + 3 + 2 + 1) * 8 * 2 * 2, forward.flops());
    assertEquals(2.5 * forward.flops(), Cost.attention(4, 2, 1, 8, DType.F32, true).flops());
    Cost grouped = Cost.grouped(3, 5, 7, 2, 11, DType.BF16, false);
    assertEquals(2 * 3 * 5 * 7, grouped.flops());
    assertEquals((11 + 2 * 5 * 7) * 2, grouped.bytes());
    assertEquals(
        11 * 2 + 2 * 5 * 7 * 8, Cost.grouped(3, 5, 7, 2, 11, DType.BF16, true).bytes());
    // 100 bytes at 10 a second against 40 FLOPs at 2 a second.
    assertEquals(20, new Cost(100, 40, true).bound(10, 2));
    assertEquals(10, new Cost(100, 40, false).bound(10, 2));
    assertEquals(0.5, new Roof(10, new EnumMap<>(Map.of(DType.F32, 2.0)))
        .share(new Cost(100, 40, true), DType.F32, 40));
    assertEquals(0.25, new Roof(10, Map.of()).share(new Cost(100, 40, true), DType.F32, 40));
  }

  @Test
  void theTableFitsInEightyColumnsAtEverySize() {
    for (String size : List.of("tiny", "15m", "1b", "8b")) {
      List<KernelBench.Result> results =
          KernelCases.of(Dims.of(size), DType.BF16).stream()
              .map(c -> result(c, Optional.of(456.7e-6), 12.34))
              .toList();
      List<String> lines = KernelTable.lines(results, ROOF);
      assertEquals(results.size() + 2, lines.size());
      for (String line : lines) {
        assertTrue(line.length() <= 80, line);
        assertEquals(lines.get(0).length(), line.length());
        assertEquals(7, line.chars().filter(c -> c == '|').count(), line);
      }
    }
  }

  @Test
  void ourRateStandsBelowTheVendors() {
    KernelCase c = KernelCases.of(Dims.of("tiny"), DType.BF16).get(0);
    KernelBench.Result byVendor =
        new KernelBench.Result(
            c.op(), c.shape(), c.dtype(), c.cost(), Optional.of(1e-3), 0.9, Optional.of(0.876), "");
    List<String> lines = KernelTable.lines(List.of(byVendor), ROOF);
    assertEquals(
        List.of("matmul bf16: the vendor's library; our own kernel has 0.88x its rate"),
        lines.subList(3, 4));
  }

  @Test
  void whatWasNotMeasuredIsSaidBelow() {
    KernelCase first = KernelCases.of(Dims.of("tiny"), DType.F32).get(0);
    KernelBench.Result refused =
        new KernelBench.Result(
            first.op(), first.shape(), DType.F32, first.cost(), Optional.empty(), 0, Optional.empty(), "no kernel");
    List<String> lines = KernelTable.lines(List.of(refused), ROOF);
    assertEquals(List.of("not measured: matmul f32: no kernel"), lines.subList(2, 3));
  }

  private static KernelBench.Result result(KernelCase c, Optional<Double> seconds, double share) {
    return new KernelBench.Result(
        c.op(), c.shape(), c.dtype(), c.cost(), seconds, share, Optional.empty(), "");
  }

  @Test
  void numbersHaveThreeDigits() {
    assertEquals("1.23 us", KernelTable.time(1.234e-6));
    assertEquals("100 ms", KernelTable.time(0.09996));
    assertEquals("2.00 s", KernelTable.time(2));
    assertEquals("99.9 GB/s", KernelTable.rate(99.9e9, "B/s"));
    assertEquals("1.50 TFLOP/s", KernelTable.rate(1.5e12, "FLOP/s"));
  }

  @Test
  void thePlotIsXmlWithAPointForEachOpThatComputes() throws Exception {
    List<KernelBench.Result> results =
        KernelCases.of(Dims.of("tiny"), DType.F32).stream()
            .map(c -> result(c, Optional.of(1e-5), 0.5))
            .toList();
    String svg = RooflinePlot.svg("a <b> & c", results, ROOF, DType.F32);
    var document =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
    long computing = results.stream().filter(r -> r.cost().flops() > 0).count();
    assertEquals(computing, document.getElementsByTagName("circle").getLength());
    assertTrue(svg.contains(">rmsnorm</text>"));
  }

  @Test
  void theBetterOfTwoRoofsIsTakenSideBySide() {
    Roof one = new Roof(5, Map.of(DType.F32, 7.0));
    Roof other = new Roof(6, Map.of(DType.F32, 3.0, DType.BF16, 2.0));
    assertEquals(new Roof(6, Map.of(DType.F32, 7.0, DType.BF16, 2.0)), one.better(other));
  }

  @Test
  void theRoofIsMeasured() {
    try (Stream stream = Stream.open(Device.CPU, 2)) {
      Roof roof = Roof.measure(stream, 1);
      assertTrue(roof.copyBytesPerSecond() > 0);
      assertTrue(roof.flopsPerSecond(DType.F32) > 0);
      assertTrue(roof.flopsPerSecond(DType.BF16) > 0);
    }
  }

  @Test
  void aSizeThatIsNotThereNamesTheNearest() {
    UserError e = assertThrows(UserError.class, () -> Dims.of("15mm"));
    assertTrue(e.getMessage().contains("did you mean '15m'"), e.getMessage());
  }

  @Test
  void extentsCanBeChanged() {
    Dims dims = Dims.of("15m").with(List.of("heads=8", "head_dim=64", "kv_heads=4"));
    assertEquals(new Dims(2048, 288, 768, 8, 4, 64, 32000, 256, 1 << 24, 8, 2), dims);
    assertThrows(UserError.class, () -> dims.with(List.of("tokens")));
    assertThrows(UserError.class, () -> dims.with(List.of("kv_heads=3")));
    UserError four =
        assertThrows(UserError.class, () -> dims.with(List.of("choices=4", "experts=3")));
    assertEquals("--shape: choices must be at most experts, got 4 and 3", four.getMessage());
  }

  @Test
  void anOpByNameRunsAgainAndAgain() {
    try (Stream stream = Stream.open(Device.CPU, 1);
        KernelRun run = new KernelRun("attention bwd", Dims.of("tiny"), DType.BF16, stream)) {
      run.run();
      run.run();
    }
    KernelBench.Result result =
        KernelRun.result("attention bwd", Dims.of("tiny"), DType.BF16, 1e-3, ROOF);
    assertEquals("attention bwd", result.op());
    assertEquals(1e-3, result.seconds().orElseThrow());
    try (Stream stream = Stream.open(Device.CPU, 1)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> new KernelRun("atention", Dims.of("tiny"), DType.F32, stream));
    }
  }

  @Test
  void aCallThatFailsIsNotSwallowed() {
    try (Stream stream = Stream.open(Device.CPU, 1);
        Bed bed = new Bed(stream)) {
      KernelCall wrong =
          Elementwise.add(
              bed.random(DType.F32, 2, 3), bed.random(DType.F32, 3, 2), bed.output(DType.F32, 2, 3));
      assertThrows(RuntimeException.class, () -> bed.run(bed.ready(wrong)));
    }
  }
}
