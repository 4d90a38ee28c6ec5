package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BenchTest {
  @TempDir Path dir;

  @Test
  void kernelsPrintATableThatCanBePasted() throws Exception {
    Path plot = dir.resolve("roof.svg");
    Captured run =
        Captured.run(
            "bench", "kernels", "--device", "cpu", "--threads", "1", "--size", "tiny", "--samples",
            "1", "--op", "rmsnorm", "--op", "matmul dW", "--plot", plot.toString());
    assertEquals(0, run.code(), run.err());
    String[] lines = run.out().split("\n");
    long rows = run.out().lines().filter(line -> line.startsWith("| rmsnorm ")).count();
    assertEquals(10, rows, run.out()); // five variants, float32 and bfloat16
    assertTrue(run.out().contains("| matmul dW "), run.out());
    assertTrue(run.out().contains("Measured roof: copy "), run.out());
    for (String line : lines) {
      assertTrue(line.length() <= 80, line);
    }
    assertTrue(Files.readString(plot).startsWith("<svg"));
  }

  @Test
  void kernelsGiveOneJsonObject() throws Exception {
    Captured run =
        Captured.run(
            "bench", "kernels", "--device", "cpu", "--threads", "1", "--size", "tiny", "--samples",
            "1", "--op", "attention", "--dtype", "bf16", "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode out = new ObjectMapper().readTree(run.out());
    assertEquals(3, out.path("results").size());
    JsonNode backward = out.path("results").get(1);
    assertEquals("attention bwd", backward.path("op").asText());
    assertEquals("bf16", backward.path("dtype").asText());
    for (String key : new String[] {"seconds", "bytes_per_s", "flops_per_s", "roof_share"}) {
      assertTrue(backward.path(key).asDouble() > 0, key);
    }
    assertTrue(out.path("roof").path("copy_bytes_per_s").asDouble() > 0);
    assertTrue(out.path("roof").path("product_f32_flops_per_s").asDouble() > 0);
  }

  @Test
  void trainingPrintsTablesWithinEightyColumns() {
    Captured run =
        Captured.run("bench", "train", "first-run", "--device", "cpu", "--steps", "2", "--profile");
    assertEquals(0, run.code(), run.err());
    for (String part : new String[] {"| tokens/s ", "| device memory ", "| matrix products | "}) {
      assertTrue(run.out().contains(part), run.out());
    }
    for (String line : run.out().split("\n")) {
      assertTrue(line.length() <= 80, line);
    }
    assertFalse(Files.exists(Path.of("runs")));
  }

  @Test
  void trainingGivesOneJsonObject() throws Exception {
    Captured run =
        Captured.run(
            "bench", "train", "first-run", "--device", "cpu", "--threads", "1", "--steps", "2",
            "--set", "sequence.length=32", "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode out = new ObjectMapper().readTree(run.out());
    assertEquals(32, out.path("sequence").asInt());
    assertEquals(16 * 32, out.path("tokens_per_step").asInt());
    assertEquals(2, out.path("seconds").size());
    assertTrue(out.path("profile").isMissingNode());
    for (String key : new String[] {"tokens_per_s", "product_share", "device_bytes"}) {
      assertTrue(out.path(key).asDouble() > 0, key);
    }
  }

  @Test
  void exchangesAreCheckedAndTimed() throws Exception {
    Captured run =
        Captured.run(
            "bench", "collectives", "--device", "cpu", "--ranks", "3", "--megabytes", "1", "--json");
    assertEquals(0, run.code(), run.err());
    JsonNode rows = new ObjectMapper().readTree(run.out()).path("rows");
    assertEquals(5, rows.size());
    for (JsonNode row : rows) {
      assertTrue(row.path("seconds").asDouble() > 0, row.toString());
      double share = row.path("bus_bytes_per_s").asDouble() / row.path("bytes_per_s").asDouble();
      String kind = row.path("kind").asText();
      double expected =
          kind.equals("all_reduce") ? 4.0 / 3 : kind.equals("broadcast") ? 1 : 2.0 / 3;
      assertEquals(expected, share, 1e-9, kind);
    }
    Captured table =
        Captured.run("bench", "collectives", "--device", "cpu", "--megabytes", "1");
    assertEquals(0, table.code(), table.err());
    for (String line : table.out().split("\n")) {
      assertTrue(line.length() <= 80, line);
    }
  }
}
