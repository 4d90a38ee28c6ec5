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
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Score, generate, export, plan and preview on a model that first-run trained for a moment. */
class ModelVerbsTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir static Path dir;
  private static String model;

  @BeforeAll
  static void train() {
    Path run = dir.resolve("run");
    assertEquals(0, Captured.run(TrainTest.arguments("sft", run, 3)).code());
    model = run.resolve("checkpoints/step-3").toString();
  }

  private static Captured generate(String... more) {
    String[] args = new String[more.length + 3];
    System.arraycopy(new String[] {"generate", "--model", model}, 0, args, 0, 3);
    System.arraycopy(more, 0, args, 3, more.length);
    return Captured.run(args);
  }

  @Test
  void scoresComeInTheOrderOfTheRows() throws IOException {
    Path rows = dir.resolve("rows.jsonl");
    Files.writeString(
        rows,
        """
        {"input_ids": [1, 40, 50, 60], "labels": [1, 40, 50, 60]}
        {"input_ids": [1, 40, 50], "labels": [-100, -100, -100]}
        {"input_ids": [1, 40, 50, 60], "labels": [-100, -100, 50, 60]}
        {"input_ids": [9], "labels": [9]}
        """);
    Path out = dir.resolve("scores.jsonl");
    Captured run =
        Captured.run("score", "--model", model, "--data", rows.toString(), "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals("", run.out());
    List<String> lines = Files.readAllLines(out);
    assertEquals(4, lines.size());
    JsonNode all = JSON.readTree(lines.get(0));
    JsonNode some = JSON.readTree(lines.get(2));
    assertEquals(3, all.get("targets").asInt());
    assertEquals("{\"nll_sum\":0.0,\"targets\":0,\"logprobs\":[]}", lines.get(1));
    assertEquals(0, JSON.readTree(lines.get(3)).get("targets").asInt());
    assertEquals(2, some.get("targets").asInt());
    double sum = 0;
    for (int i = 0; i < 2; i++) {
      double logprob = some.get("logprobs").get(i).asDouble();
      assertEquals(all.get("logprobs").get(i + 1).asDouble(), logprob, 1e-5);
      assertTrue(logprob < 0);
      sum -= logprob;
    }
    assertEquals(sum, some.get("nll_sum").asDouble(), 1e-9);
  }

  @Test
  void aRowBeyondTheContextIsRefusedWithItsLine() throws IOException {
    Path rows = dir.resolve("long.jsonl");
    String ids = "1, ".repeat(256) + "1";
    Files.writeString(
        rows,
        """
        {"input_ids": [1, 2], "labels": [1, 2]}
        {"input_ids": [%s], "labels": [%s]}
        """
            .formatted(ids, ids));
    Path out = dir.resolve("long-scores.jsonl");
    Captured run =
        Captured.run("score", "--model", model, "--data", rows.toString(), "--out", out.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains(rows + ":2: "), run.err());
    assertFalse(Files.exists(out));
  }

  @Test
  void wordsAreScoredWithTheCheckpointsOwnTokenizer() throws IOException {
    Path rows = dir.resolve("words.jsonl");
    Files.writeString(rows, "{\"prompt\": \"Name the capital.\", \"completion\": \"Oslo\"}\n");
    Path out = dir.resolve("word-scores.jsonl");
    Captured run =
        Captured.run(
            "score",
            "--model",
            model,
            "--data",
            rows.toString(),
            "--out",
            out.toString(),
            "--set",
            "data.format=prompt");
    assertEquals(0, run.code(), run.err());
    assertTrue(JSON.readTree(out.toFile()).get("targets").asInt() >= 2);
  }

  @Test
  void samplingIsRepeatableBySeed() {
    String[] base = {"--prompt-ids", "1,40", "--ids", "--max-new-tokens", "12", "--temperature"};
    String one = sample(base, "1", "5");
    assertEquals(one, sample(base, "1", "5"));
    assertTrue(!one.equals(sample(base, "1", "6")));
    assertEquals(sample(base, "0", "5"), sample(base, "0", "6"));
  }

  private static String sample(String[] base, String temperature, String seed) {
    String[] args = Arrays.copyOf(base, base.length + 3);
    args[base.length] = temperature;
    args[base.length + 1] = "--seed";
    args[base.length + 2] = seed;
    Captured run = generate(args);
    assertEquals(0, run.code(), run.err());
    return run.out();
  }

  @Test
  void badPromptsAreRefused() {
    assertBad(generate("--prompt-ids", "1,x"), "--prompt-ids: got '1,x', needs token ids");
    assertBad(generate("--prompt-ids", "", "--ids"), "--prompt-ids: got ''");
    assertBad(generate("--prompt-ids", "512", "--ids"), "prompt: token id 512, the model's");
    assertBad(generate("--prompt-ids", "-1", "--ids"), "prompt: token id -1");
    String longest = "1,".repeat(255) + "1";
    assertBad(generate("--prompt-ids", longest, "--ids"), "no room for another");
  }

  @Test
  void aRunsFolderIsNotAModelButItsCheckpointIsNamed() {
    Captured run =
        Captured.run("generate", "--model", dir.resolve("run").toString(), "--prompt", "x");
    assertBad(run, "did you mean " + model + "?");
  }

  private static void assertBad(Captured run, String part) {
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(part), run.err());
    assertEquals("", run.out());
  }

  @Test
  void theContinuationEndsWithTheContext() {
    String prompt = "1,".repeat(250) + "1";
    Captured run = generate("--prompt-ids", prompt, "--ids", "--max-new-tokens", "100");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().split(",").length <= 5, run.out());
  }

  @Test
  void anExportIsAModelOfItsOwn() throws IOException {
    Path out = dir.resolve("exported");
    Captured run =
        Captured.run("export", "--model", model, "--format", "hf", "--out", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(out + "\n", run.out());
    assertFalse(Files.exists(out.resolve("trainer")));
    assertArrayEquals(
        Files.readAllBytes(Path.of(model, "model.safetensors")),
        Files.readAllBytes(out.resolve("model.safetensors")));
    Captured first = generate("--prompt", "Name", "--max-new-tokens", "5");
    Captured second =
        Captured.run(
            "generate", "--model", out.toString(), "--prompt", "Name", "--max-new-tokens", "5");
    assertEquals(0, second.code(), second.err());
    assertEquals(first.out(), second.out());
    assertEquals(
        2, Captured.run("export", "--model", model, "--format", "hf", "--out", "" + out).code());
  }

  @Test
  void planAndPreviewKeepToEightyColumns() {
    for (String recipe : new String[] {"first-run", "quickstart", "llama-15m"}) {
      keepsToEightyColumns(Captured.run("plan", recipe, "--device", "cpu"));
    }
    for (String recipe : new String[] {"first-run", "quickstart"}) {
      keepsToEightyColumns(Captured.run("preview", recipe));
    }
  }

  private static void keepsToEightyColumns(Captured run) {
    assertEquals(0, run.code(), run.err());
    for (String line : run.out().split("\n")) {
      // A path alone may be as long as it is.
      assertTrue(line.length() <= 80 || line.matches(" *100.0 %  /\\S+:"), line);
      assertFalse(line.contains("\u001b"), "colours on what is no terminal: " + line);
    }
  }

  @Test
  void theRateOfGenerationGoesToStandardError() {
    Captured run = generate("--prompt", "Name", "--max-new-tokens", "5");
    assertTrue(run.err().lines().anyMatch(l -> l.matches("5 tokens, [0-9,.]+ tokens/s behind the first")));
    Captured one = generate("--prompt", "Name", "--max-new-tokens", "1");
    assertFalse(one.err().contains("tokens/s"), one.err());
  }

  @Test
  void thePlanIsOneJsonObjectWithTheContractsKeys() throws IOException {
    Captured run = Captured.run("plan", "first-run", "--json", "--device", "cpu");
    assertEquals(0, run.code(), run.err());
    assertEquals(1, run.out().lines().count());
    JsonNode plan = JSON.readTree(run.out());
    assertEquals(125_248, plan.get("params_total").asLong());
    assertEquals(125_248, plan.get("params_active").asLong());
    assertTrue(plan.get("flops_per_token").asDouble() > 6 * 120_000);
    JsonNode bytes = plan.get("bytes");
    long sum = 0;
    for (String category :
        List.of("weights", "gradients", "optimizer", "activations", "workspace")) {
      sum += bytes.get(category).asLong();
    }
    assertEquals(sum, bytes.get("total").asLong());
    assertEquals(0, plan.get("wire_bytes_per_step").asLong());
    assertTrue(plan.get("step_seconds").asDouble() > 0);
    assertEquals(74, plan.get("data").get("rows").asInt());
    double padding = plan.get("data").get("padding_share").asDouble();
    assertTrue(padding >= 0 && padding < 1, "" + padding);
    assertTrue(Captured.run("plan", "first-run").out().contains("parameters       125,248"));
  }

  @Test
  void aMachineThatIsNotHereCanBePlannedFor() throws IOException {
    Captured run =
        Captured.run(
            "plan",
            "llama",
            "--json",
            "--machine",
            "h200",
            "--set",
            "model={family: llama, size: 7b}",
            "--set",
            "sequence.length=512");
    assertEquals(0, run.code(), run.err());
    JsonNode plan = JSON.readTree(run.out());
    assertEquals(6_738_415_616L, plan.get("params_total").asLong());
    // bf16 weight with its remainder, float32 gradient, two float32 moments
    assertEquals(16, plan.get("bytes_per_parameter").asDouble(), 0.01);
    assertEquals("h200", plan.get("machine").asText());
    Captured tooLarge =
        Captured.run(
            "plan", "llama", "--machine", "h100", "--set", "model={family: llama, size: 65b}");
    assertEquals(2, tooLarge.code());
    assertTrue(tooLarge.err().contains("the plan needs"), tooLarge.err());
  }

  @Test
  void thePreviewShowsWhatIsLearnt() throws IOException {
    Captured text = Captured.run("preview", "first-run");
    assertEquals(0, text.code(), text.err());
    assertTrue(text.out().contains("rows         74, 0 of them"), text.out());
    assertTrue(text.out().contains("### Response:[["), text.out());
    JsonNode json = JSON.readTree(Captured.run("preview", "first-run", "--json").out());
    assertEquals(74, json.get("rows").asInt());
    assertEquals(1, json.get("files").get(0).get("rate").asDouble());
    assertEquals(200, json.get("steps").asInt());
    assertTrue(json.get("first").get(0).get("spans").size() >= 2);
  }

  @Test
  void aPreviewOfNothingToLearnIsBadInput() throws IOException {
    Path rows = dir.resolve("nothing.jsonl");
    Files.writeString(rows, "{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"\"}\n");
    Captured run = Captured.run("preview", "first-run", "--set", "data.path=" + rows);
    assertEquals(2, run.code());
    assertTrue(run.err().contains("none of 1 rows is left to train on"), run.err());
  }
}
