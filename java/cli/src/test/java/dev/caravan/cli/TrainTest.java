package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whole runs of the recipe first-run, shortened, through the command line. */
class TrainTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path dir;

  /** Trains into {@code dir/name} with a checkpoint every other step. */
  private Captured sft(String name, int steps, String... assignments) {
    return Captured.run(arguments("sft", dir.resolve(name), steps, assignments));
  }

  static String[] arguments(String verb, Path output, int steps, String... assignments) {
    List<String> args = new ArrayList<>(List.of(verb, "first-run", "--device", "cpu"));
    args.addAll(List.of("--threads", "2"));
    List<String> sets = new ArrayList<>(List.of("output=" + output, "train.steps=" + steps));
    // A schedule that does not depend on the number of steps, so that runs can be extended.
    sets.addAll(List.of("optimizer.schedule=constant", "checkpoint.every_steps=2"));
    sets.addAll(List.of(assignments));
    sets.forEach(set -> args.addAll(List.of("--set", set)));
    return args.toArray(String[]::new);
  }

  private List<JsonNode> metrics(String name) throws IOException {
    List<JsonNode> lines = new ArrayList<>();
    for (String line : Files.readAllLines(dir.resolve(name).resolve("metrics.jsonl"))) {
      lines.add(JSON.readTree(line));
    }
    return lines;
  }

  private byte[] weights(String name, int step) throws IOException {
    return Files.readAllBytes(
        dir.resolve(name).resolve("checkpoints/step-" + step).resolve("model.safetensors"));
  }

  @Test
  void aRunLeavesTheFilesOfTheContract() throws IOException {
    Captured run = sft("a", 6, "eval.every_steps=3");
    assertEquals(0, run.code(), run.err());
    Path last = dir.resolve("a/checkpoints/step-6");
    assertEquals(last + "\n", run.out());
    assertTrue(run.err().startsWith("device: cpu ("), run.err());
    for (String file : List.of("config.json", "model.safetensors", "tokenizer.json")) {
      assertTrue(Files.isRegularFile(last.resolve(file)), file);
    }
    assertTrue(Files.isRegularFile(dir.resolve("a/config.yaml")));
    try (Stream<Path> files = Files.list(dir.resolve("a"))) {
      assertTrue(files.anyMatch(f -> f.getFileName().toString().startsWith("events.out.tfevents")));
    }
    try (Stream<Path> files = Files.list(dir.resolve("a/checkpoints"))) {
      assertEquals(2, files.count());
    }
    List<JsonNode> lines = metrics("a");
    List<JsonNode> steps = lines.stream().filter(line -> line.has("loss")).toList();
    List<JsonNode> evals = lines.stream().filter(line -> line.has("eval_loss")).toList();
    assertEquals(6, steps.size());
    assertEquals(2, evals.size());
    assertEquals(List.of("step", "eval_loss", "eval_targets"), keys(evals.get(0)));
    assertEquals(
        List.of(
            "step",
            "loss",
            "grad_norm",
            "lr",
            "target_tokens",
            "input_tokens",
            "tokens_per_s",
            "seconds",
            "data_wait_s",
            "host_peak_bytes",
            "device_peak_bytes"),
        keys(steps.get(0)));
    assertEquals(3e-4, steps.get(0).get("lr").asDouble(), 1e-12); // warm-up: lr x 1 / 10
    assertTrue(steps.get(5).get("loss").asDouble() < steps.get(0).get("loss").asDouble());
  }

  private static List<String> keys(JsonNode object) {
    List<String> keys = new ArrayList<>();
    object.fieldNames().forEachRemaining(keys::add);
    return keys;
  }

  @Test
  void aContinuedRunEndsInTheSameBits() throws IOException {
    assertEquals(0, sft("whole", 6).code());
    assertEquals(0, sft("parts", 3).code());
    Captured rest = sft("parts", 6);
    assertEquals(0, rest.code(), rest.err());
    assertTrue(rest.err().contains("resumed from"), rest.err());
    assertArrayEquals(weights("whole", 6), weights("parts", 6));
    List<JsonNode> whole = metrics("whole").stream().filter(l -> l.has("loss")).toList();
    List<JsonNode> parts = metrics("parts").stream().filter(l -> l.has("loss")).toList();
    assertEquals(6, parts.size());
    for (int i = 0; i < 6; i++) {
      for (String key : List.of("step", "loss", "grad_norm", "lr", "target_tokens")) {
        assertEquals(whole.get(i).get(key), parts.get(i).get(key), key);
      }
    }
  }

  /** Another size would add gradients in another order, and end in other bits. */
  @Test
  void aContinuedRunKeepsTheSizeOfItsBuffers() throws IOException {
    assertEquals(0, sft("sized", 2, "train.micro_batch_tokens=128").code());
    Path before = dir.resolve("sized/config.yaml");
    String open = Files.readString(before).replaceFirst("micro_batch_tokens: 128\n *", "");
    Files.writeString(before, open);
    assertEquals(0, sft("sized", 4).code());
    JsonNode state =
        JSON.readTree(dir.resolve("sized/checkpoints/step-4/trainer/state.json").toFile());
    assertEquals(128, state.get("micro_batch_tokens").asInt());
  }

  @Test
  void twoRunsGiveTheSameBits() throws IOException {
    assertEquals(0, sft("one", 4).code());
    assertEquals(0, sft("two", 4).code());
    assertArrayEquals(weights("one", 4), weights("two", 4));
  }

  @Test
  void aCompleteRunSaysSoAndIsLeftAlone() throws IOException {
    sft("a", 4);
    byte[] before = Files.readAllBytes(dir.resolve("a/metrics.jsonl"));
    Captured again = sft("a", 4);
    assertEquals(0, again.code());
    assertTrue(again.err().contains("complete, 4 steps are done"), again.err());
    assertArrayEquals(before, Files.readAllBytes(dir.resolve("a/metrics.jsonl")));
  }

  @Test
  void anotherConfigurationIsRefusedAndNeverReplaces() throws IOException {
    sft("a", 2);
    Captured other = sft("a", 2, "optimizer.lr=1e-4");
    assertEquals(2, other.code());
    assertTrue(other.err().contains("holds another run: optimizer.lr: 1.0E-4, was 0.003"));
    Captured afresh = sft("a", 2, "optimizer.lr=1e-4", "checkpoint.resume=never");
    assertEquals(0, afresh.code(), afresh.err());
    assertEquals(2, metrics("a").stream().filter(line -> line.has("loss")).count());
  }

  @Test
  void pretrainLearnsEveryToken() throws IOException {
    sft("sft", 1);
    Captured run = Captured.run(arguments("pretrain", dir.resolve("all"), 1));
    assertEquals(0, run.code(), run.err());
    JsonNode all = metrics("all").get(0);
    assertEquals(
        all.get("input_tokens").asInt() - 16, all.get("target_tokens").asInt(), "16 first tokens");
    assertTrue(metrics("sft").get(0).get("target_tokens").asInt() < 100);
  }

  @Test
  void badDataLeavesNoRunFolder() throws IOException {
    Path rows = Files.writeString(dir.resolve("rows.jsonl"), "{\"instruction\": \"a\",\n");
    Captured run = sft("a", 2, "data.path=" + rows);
    assertEquals(2, run.code());
    assertTrue(run.err().contains(rows + ":1: "), run.err());
    assertFalse(Files.exists(dir.resolve("a")));
  }

  @Test
  void aPlanBeyondTheMachineSaysWhatWouldFit() {
    Captured run =
        sft(
            "a",
            2,
            "model={family: llama, size: 65b}",
            "train.micro_batch_tokens=16384",
            "sequence.length=2048");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("the plan needs"), run.err());
    assertFalse(Files.exists(dir.resolve("a")));
  }

  @Test
  void aStepThatIsNotFiniteStopsBeforeTheUpdate() throws IOException {
    Captured run = sft("a", 9, "optimizer.lr=1e30", "optimizer.warmup_steps=0");
    assertEquals(1, run.code(), run.err());
    String[] lines = run.err().strip().split("\n");
    String last = lines[lines.length - 1];
    assertTrue(last.startsWith("caravan: step "), run.err());
    assertTrue(last.endsWith("the weights were not updated"), run.err());
    assertTrue(last.contains("for examples ["), run.err());
    for (JsonNode line : metrics("a")) {
      assertTrue(line.get("loss").isNumber());
    }
  }
}
