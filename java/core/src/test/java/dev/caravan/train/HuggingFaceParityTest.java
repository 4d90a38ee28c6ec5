package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.checkpoint.Safetensors;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every model family scores, generates and trains as Hugging Face transformers does.
 *
 * <p>Tolerances: a log-probability within 1e-5 nats; loss and gradient norm of each of 20 steps
 * within 1e-4 of their size; final weights within 1e-4 of the tensor's root mean square. The
 * goldens are checked to be well conditioned when they are made: float32 and float64 differ there
 * by less than a tenth of this.
 */
class HuggingFaceParityTest {
  private static final double LOGPROB = 1e-5;
  private static final double RELATIVE = 1e-4;

  @TempDir Path temporary;

  static List<Golden> goldens() {
    return Golden.all();
  }

  @ParameterizedTest
  @MethodSource("goldens")
  void scores(Golden golden) throws IOException {
    List<JsonNode> scores = golden.score(golden.folder(), temporary.resolve("scores.jsonl"));
    JsonNode expected = golden.read("golden.json").get("scores");
    assertEquals(expected.size(), scores.size());
    for (int row = 0; row < scores.size(); row++) {
      JsonNode logprobs = scores.get(row).get("logprobs");
      JsonNode its = expected.get(row).get("logprobs");
      assertEquals(its.size(), logprobs.size(), "targets of row " + row);
      assertEquals(its.size(), scores.get(row).get("targets").asInt());
      for (int i = 0; i < its.size(); i++) {
        String where = "row " + row + ", target " + i;
        assertEquals(its.get(i).asDouble(), logprobs.get(i).asDouble(), LOGPROB, where);
      }
      double sum = expected.get(row).get("nll_sum").asDouble();
      assertEquals(sum, scores.get(row).get("nll_sum").asDouble(), LOGPROB * its.size());
    }
  }

  @ParameterizedTest
  @MethodSource("goldens")
  void continuesGreedily(Golden golden) throws IOException {
    for (JsonNode expected : golden.read("golden.json").get("greedy")) {
      List<Integer> ids = ints(expected.get("ids"));
      int[] prompt = ints(expected.get("prompt")).stream().mapToInt(Integer::intValue).toArray();
      assertEquals(ids, golden.generate(prompt, ids.size()));
    }
  }

  @ParameterizedTest
  @MethodSource("goldens")
  void trainsTwentySteps(Golden golden) throws IOException {
    compareRun(golden, "golden.json");
  }

  /** The same steps in many small buffers, with recomputation, and with a slot for each row. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "train.micro_batch_tokens=96",
        "train.micro_batch_tokens=200 recompute=full",
        "train.micro_batch_tokens=300 sequence.packing=false recompute=selective"
      })
  void trainsTheSameHoweverBuffersAreCut(String keys) throws IOException {
    for (String name : List.of("llama2-gqa", "qwen2-window", "qwen3")) {
      compareRun(Golden.named(name), "golden.json", keys.split(" "));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"adafactor.json", "adafactor-momentum-scaled.json"})
  void trainsWithAdafactor(String file) throws IOException {
    compareRun(Golden.named("llama2-gqa"), file);
  }

  private void compareRun(Golden golden, String file, String... keys) throws IOException {
    JsonNode expected = golden.read(file).get("train");
    Path output = temporary.resolve(golden.toString());
    Path checkpoint = golden.train(expected.get("settings"), output, keys);

    List<JsonNode> steps = Golden.lines(output.resolve("metrics.jsonl"));
    assertEquals(expected.get("per_step").size(), steps.size());
    for (int i = 0; i < steps.size(); i++) {
      JsonNode step = steps.get(i);
      JsonNode its = expected.get("per_step").get(i);
      assertEquals(i + 1, step.get("step").asInt());
      assertEquals(its.get("target_tokens").asLong(), step.get("target_tokens").asLong());
      close(golden + ", step " + (i + 1), "lr", its, step, 1e-12);
      close(golden + ", step " + (i + 1), "loss", its, step, RELATIVE);
      close(golden + ", step " + (i + 1), "grad_norm", its, step, RELATIVE);
    }
    compareWeights(golden, expected.get("weights"), checkpoint);

    // The checkpoint is a model folder, and scores as the trained model does.
    List<JsonNode> scores = golden.score(checkpoint, temporary.resolve("final.jsonl"));
    for (int row = 0; row < scores.size(); row++) {
      double its = expected.get("final_nll").get(row).asDouble();
      double got = scores.get(row).get("nll_sum").asDouble();
      close(golden + ", final nll_sum of row " + row, its, got, RELATIVE);
    }
  }

  private static void compareWeights(Golden golden, JsonNode expected, Path checkpoint) {
    try (Safetensors weights = Safetensors.open(checkpoint)) {
      assertEquals(expected.size(), weights.tensors().size(), golden + ": tensors saved");
      for (Map.Entry<String, JsonNode> entry : expected.properties()) {
        String name = golden + ", " + entry.getKey();
        JsonNode its = entry.getValue();
        float[] w = weights.readFloats(entry.getKey());
        double squares = 0;
        double probe = 0;
        for (int i = 0; i < w.length; i++) {
          squares += (double) w[i] * w[i];
          probe += w[i] * Math.sin(i + 1);
        }
        double norm = its.get("norm").asDouble();
        close(name + ": norm", norm, Math.sqrt(squares), RELATIVE);
        double rms = norm / Math.sqrt(w.length);
        for (int i = 0; i < its.get("first").size(); i++) {
          double value = its.get("first").get(i).asDouble();
          assertEquals(value, w[i], RELATIVE * rms, name + ": element " + i);
        }
        // Every element moves the probe.
        assertEquals(its.get("probe").asDouble(), probe, 1e-5 * norm, name + ": probe");
      }
    }
  }

  private static void close(String where, String key, JsonNode its, JsonNode got, double relative) {
    close(where + ": " + key, its.get(key).asDouble(), got.get(key).asDouble(), relative);
  }

  private static void close(String what, double its, double got, double relative) {
    assertTrue(
        Math.abs(got - its) <= relative * Math.abs(its),
        () -> what + ": got " + got + ", Hugging Face has " + its);
  }

  private static List<Integer> ints(JsonNode array) {
    List<Integer> values = new ArrayList<>();
    array.forEach(value -> values.add(value.asInt()));
    return values;
  }
}
