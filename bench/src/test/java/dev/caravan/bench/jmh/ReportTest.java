package dev.caravan.bench.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.bench.KernelBench;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.openjdk.jmh.runner.options.CommandLineOptions;

class ReportTest {
  /** Every op once, for a moment, in this process: that each is found, runs and is reported. */
  @Test
  void everyOpRunsUnderJmh() throws Exception {
    PrintStream out = System.out;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    try {
      Report.main(
          new String[] {
            "-f", "0", "-wi", "0", "-i", "1", "-r", "1ms", "-p", "size=tiny",
            "-p", "threads=1", "-rff", "target/report-test.json"
          });
    } finally {
      System.setOut(out);
    }
    String printed = bytes.toString(StandardCharsets.UTF_8);
    List<String> rows = printed.lines().filter(line -> line.startsWith("| ")).toList();
    assertEquals(2 * KernelBench.ops().size() + 1, rows.size(), printed); // of two types, and the head
    assertTrue(printed.contains("size tiny, threads 1"), printed);
    assertTrue(printed.contains("Measured roof: copy "), printed);
  }

  @Test
  void threadsAreThoseThatAreAskedFor() throws Exception {
    assertEquals(2, Report.threads(new CommandLineOptions()));
    assertEquals(3, Report.threads(new CommandLineOptions("-p", "threads=3")));
  }
}
