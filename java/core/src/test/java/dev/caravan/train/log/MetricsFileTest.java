package dev.caravan.train.log;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MetricsFileTest {
  @TempDir Path dir;
  private Path file;

  @BeforeEach
  void setUp() {
    file = dir.resolve("metrics.jsonl");
  }

  private static StepMetrics step(int step, double loss) {
    return new StepMetrics(step, loss, 0.5, 2e-5, 7, 9, 123.5, 0.25, 0.125, 1L << 40, 0);
  }

  @Test
  void linesHaveExactlyTheContractsKeys() throws IOException {
    try (MetricsFile metrics = new MetricsFile(file, 0)) {
      metrics.write(step(1, 2.0));
      metrics.write(new EvalMetrics(1, 1.5, 40));
      assertEquals(
          """
          {"step":1,"loss":2.0,"grad_norm":0.5,"lr":2.0E-5,"target_tokens":7,"input_tokens":9,\
          "tokens_per_s":123.5,"seconds":0.25,"data_wait_s":0.125,\
          "host_peak_bytes":1099511627776,"device_peak_bytes":0}
          {"step":1,"eval_loss":1.5,"eval_targets":40}
          """,
          Files.readString(file));
    }
  }

  @Test
  void sparseLayersHaveTheirOwnFiguresBesideThoseOfAll() throws IOException {
    ExpertMetrics experts =
        new ExpertMetrics(
            3,
            30,
            2,
            1.5,
            0.125,
            List.of(
                new ExpertMetrics.Layer(1, 10, 2, 1, 0.25, List.of(6L, 0L, 2L)),
                new ExpertMetrics.Layer(2, 20, 1.5, 2, 0, List.of(2L, 2L, 4L))));
    try (MetricsFile metrics = new MetricsFile(file, 0)) {
      metrics.write(new StepMetrics(1, 2.5, 0.5, 1e-3, 7, 9, 8, 1, 0, 6, 5, Optional.of(experts)));
    }
    assertEquals(
        """
        {"step":1,"loss":2.5,"grad_norm":0.5,"lr":0.001,"target_tokens":7,"input_tokens":9,\
        "tokens_per_s":8.0,"seconds":1.0,"data_wait_s":0.0,"host_peak_bytes":6,"device_peak_bytes":5,\
        "aux_loss":3.0,"z_loss":30.0,"expert_load_max":2.0,"expert_entropy":1.5,"drop_share":0.125,\
        "expert_layers":[{"aux_loss":1.0,"z_loss":10.0,"load_max":2.0,"entropy":1.0,"drop_share":0.25,\
        "choices":[6,0,2]},\
        {"aux_loss":2.0,"z_loss":20.0,"load_max":1.5,"entropy":2.0,"drop_share":0.0,\
        "choices":[2,2,4]}]}
        """,
        Files.readString(file));
  }

  @Test
  void valuesThatJsonLacksAreNull() throws IOException {
    try (MetricsFile metrics = new MetricsFile(file, 0)) {
      metrics.write(step(1, Double.NaN));
      metrics.write(new EvalMetrics(1, Double.POSITIVE_INFINITY, 1));
    }
    assertTrue(Files.readString(file).contains("\"loss\":null,"));
    assertTrue(Files.readString(file).contains("\"eval_loss\":null,"));
  }

  @Test
  void aResumeCutsWhatIsPastItsStepAndALineCutShort() throws IOException {
    try (MetricsFile metrics = new MetricsFile(file, 0)) {
      for (int step = 1; step <= 4; step++) {
        metrics.write(step(step, step));
        metrics.write(new EvalMetrics(step, step, 1));
      }
    }
    Files.writeString(file, "{\"step\":1,\"lo", StandardOpenOption.APPEND);
    try (MetricsFile metrics = new MetricsFile(file, 2)) {
      metrics.write(step(3, 9));
    }
    assertEquals(
        List.of(1, 1, 2, 2, 3),
        Files.readAllLines(file).stream().map(line -> line.charAt(8) - '0').toList());
    assertTrue(Files.readAllLines(file).get(4).contains("\"loss\":9.0"));
  }

  @Test
  void aFreshStartLeavesNothingOld() throws IOException {
    Files.writeString(file, "{\"step\":1}\n");
    new MetricsFile(file, 0).close();
    assertEquals("", Files.readString(file));
  }

  @Test
  void aFolderThatIsMissingIsOneLine() {
    Path missing = dir.resolve("no").resolve("metrics.jsonl");
    UserError error = assertThrows(UserError.class, () -> new MetricsFile(missing, 0).close());
    assertTrue(error.getMessage().startsWith(missing + ": cannot be written: "));
  }
}
