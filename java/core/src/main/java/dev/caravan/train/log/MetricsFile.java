package dev.caravan.train.log;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;

/**
 * metrics.jsonl: one JSON object per optimizer step and one per evaluation, each written out as
 * soon as it is known. JSON has no NaN and no infinity; such a value is written as null.
 */
public final class MetricsFile implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path file;
  private final BufferedWriter out;

  /**
   * Opens the file for appending.
   *
   * @param file made where it does not exist
   * @param resumedStep lines of later steps, and a last line that is cut short, are removed; 0 for
   *     a fresh start
   * @throws UserError if the file cannot be written
   */
  public MetricsFile(Path file, int resumedStep) {
    this.file = file;
    try {
      if (Files.exists(file)) {
        cut(resumedStep);
      }
      out =
          Files.newBufferedWriter(
              file, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw failure(e);
    }
  }

  private void cut(int resumedStep) throws IOException {
    List<String> lines = Files.readAllLines(file, StandardCharsets.UTF_8);
    StringBuilder kept = new StringBuilder();
    for (String line : lines) {
      if (isUpTo(line, resumedStep)) {
        kept.append(line).append('\n');
      }
    }
    DurableFiles.replace(file, kept.toString().getBytes(StandardCharsets.UTF_8));
  }

  private static boolean isUpTo(String line, int resumedStep) {
    try {
      JsonNode json = JSON.readTree(line);
      return json.path("step").isInt() && json.path("step").asInt() <= resumedStep;
    } catch (JsonProcessingException e) {
      return false;
    }
  }

  /** Appends a step's line. */
  public void write(StepMetrics m) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("step", m.step());
    put(line, "loss", m.loss());
    put(line, "grad_norm", m.gradNorm());
    put(line, "lr", m.lr());
    line.put("target_tokens", m.targetTokens());
    line.put("input_tokens", m.inputTokens());
    put(line, "tokens_per_s", m.tokensPerS());
    put(line, "seconds", m.seconds());
    put(line, "data_wait_s", m.dataWaitS());
    line.put("host_peak_bytes", m.hostPeakBytes());
    line.put("device_peak_bytes", m.devicePeakBytes());
    m.experts()
        .ifPresent(
            e -> {
              put(line, "aux_loss", e.auxLoss());
              put(line, "z_loss", e.zLoss());
              put(line, "expert_load_max", e.loadMax());
              put(line, "expert_entropy", e.entropy());
              put(line, "drop_share", e.dropShare());
              e.layers().forEach(layer -> put(line.withArray("expert_layers").addObject(), layer));
            });
    append(line);
  }

  private static void put(ObjectNode line, ExpertMetrics.Layer layer) {
    put(line, "aux_loss", layer.auxLoss());
    put(line, "z_loss", layer.zLoss());
    put(line, "load_max", layer.loadMax());
    put(line, "entropy", layer.entropy());
    put(line, "drop_share", layer.dropShare());
    layer.choices().forEach(line.withArray("choices")::add);
  }

  /** Appends an evaluation's line, which carries no "loss". */
  public void write(EvalMetrics m) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("step", m.step());
    if (m.task().isEmpty()) {
      put(line, "eval_loss", m.evalLoss());
      line.put("eval_targets", m.evalTargets());
    } else {
      line.put("task", m.task());
      put(line, "task_loss", m.evalLoss());
      line.put("task_targets", m.evalTargets());
    }
    append(line);
  }

  /** Appends what a checkpoint answered: percent by metric and set. */
  public void write(int step, Map<String, Map<String, Double>> scores) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("step", step);
    scores.forEach((metric, sets) -> sets.forEach(line.withObjectProperty(metric)::put));
    append(line);
  }

  private static void put(ObjectNode line, String key, double value) {
    if (Double.isFinite(value)) {
      line.put(key, value);
    } else {
      line.putNull(key);
    }
  }

  private void append(ObjectNode line) {
    try {
      out.write(line.toString());
      out.write('\n');
      out.flush();
    } catch (IOException e) {
      throw failure(e);
    }
  }

  private UserError failure(IOException e) {
    return DurableFiles.cannotWrite(file, e);
  }

  @Override
  public void close() {
    try {
      out.close();
    } catch (IOException e) {
      throw failure(e);
    }
  }
}
