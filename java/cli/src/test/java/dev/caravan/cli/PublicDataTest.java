package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The real checkpoint of 260 thousand parameters: continued, scored, and tuned on real rows. */
class PublicDataTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String MODEL = "weights/stories260K/hf";
  private static final String TOKENIZER = "weights/stories260K/tok512.bin";

  @TempDir Path dir;

  private static JsonNode golden() throws IOException {
    return JSON.readTree(PublicData.file("weights/stories260K/golden.json").toFile());
  }

  private static String ids(JsonNode array, int count) {
    return StreamSupport.stream(array.spliterator(), false)
        .limit(count)
        .map(JsonNode::asText)
        .collect(Collectors.joining(","));
  }

  @Test
  void greedyContinuationsAreTheReferences() throws IOException {
    String model = PublicData.file(MODEL).toString();
    for (JsonNode prompt : golden().get("prompts")) {
      JsonNode expected = prompt.get("greedy_ids");
      Captured run =
          Captured.run(
              "generate",
              "--model",
              model,
              "--prompt-ids",
              ids(prompt.get("prompt_ids"), Integer.MAX_VALUE),
              "--ids",
              "--max-new-tokens",
              String.valueOf(expected.size()));
      assertEquals(0, run.code(), run.err());
      assertEquals(ids(expected, expected.size()), run.out().strip());
    }
  }

  @Test
  void textGoesInAndComesOut() throws IOException {
    JsonNode prompt = golden().get("prompts").get(0);
    Captured run =
        Captured.run(
            "generate",
            "--model",
            PublicData.file(MODEL).toString(),
            "--tokenizer",
            PublicData.file(TOKENIZER).toString(),
            "--prompt",
            prompt.get("prompt").asText(),
            "--max-new-tokens",
            "60");
    assertEquals(0, run.code(), run.err());
    String whole = prompt.get("prompt").asText() + run.out().stripTrailing();
    assertTrue(prompt.get("text").asText().startsWith(whole), whole);
  }

  @Test
  void theMeanLikelihoodIsTheReferences() throws IOException {
    JsonNode golden = golden().get("mean_nll");
    String ids = golden.get("ids").toString();
    Path rows = dir.resolve("rows.jsonl");
    Files.writeString(rows, "{\"input_ids\": " + ids + ", \"labels\": " + ids + "}\n");
    Path out = dir.resolve("scores.jsonl");
    Captured run =
        Captured.run(
            "score",
            "--model",
            PublicData.file(MODEL).toString(),
            "--data",
            rows.toString(),
            "--out",
            out.toString());
    assertEquals(0, run.code(), run.err());
    JsonNode score = JSON.readTree(out.toFile());
    int targets = golden.get("ids").size() - 1;
    assertEquals(targets, score.get("targets").asInt());
    assertEquals(targets, score.get("logprobs").size());
    double mean = score.get("nll_sum").asDouble() / targets;
    assertEquals(golden.get("mean_nll_nats").asDouble(), mean, 1e-5);
  }

  /** Tunes on the first rows of a file and measures on others; the loss there must fall. */
  private void tune(List<String> train, List<String> heldOut, String ending, String... settings)
      throws IOException {
    Path trainFile = Files.write(dir.resolve("train" + ending), train);
    Path heldOutFile = Files.write(dir.resolve("held-out" + ending), heldOut);
    List<String> args = new ArrayList<>(List.of("sft", "llama", "--device", "cpu"));
    List<String> sets =
        new ArrayList<>(
            List.of(
                "model.path=" + PublicData.file(MODEL),
                "tokenizer=" + PublicData.file(TOKENIZER),
                "data.path=" + trainFile,
                "eval.data=" + heldOutFile,
                "eval.every_steps=5",
                "sequence.length=512",
                "train.steps=20",
                "train.examples_per_step=8",
                "optimizer.lr=1e-3",
                "optimizer.warmup_steps=2",
                "output=" + dir.resolve("run")));
    sets.addAll(List.of(settings));
    sets.forEach(set -> args.addAll(List.of("--set", set)));
    Captured run = Captured.run(args.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    List<Double> losses = new ArrayList<>();
    for (String line : Files.readAllLines(dir.resolve("run/metrics.jsonl"))) {
      JsonNode json = JSON.readTree(line);
      if (json.has("eval_loss")) {
        losses.add(json.get("eval_loss").asDouble());
      }
    }
    assertEquals(4, losses.size());
    assertTrue(losses.get(3) < losses.get(0) - 0.1, losses.toString());
  }

  @Test
  void tunesOnGradeSchoolMath() throws IOException {
    List<String> rows = Files.readAllLines(PublicData.file("gsm8k/train.jsonl"));
    tune(
        rows.subList(0, 160),
        rows.subList(1000, 1016),
        ".jsonl",
        "data.format=prompt",
        "data.fields={prompt: question, target: answer}");
  }

  @Test
  void tunesOnChainsOfThought() throws IOException {
    List<String> rows = Files.readAllLines(PublicData.file("flan_cot/strategyqa_train.tsv"));
    tune(rows.subList(0, 160), rows.subList(1000, 1016), ".tsv", "data.format=flan");
  }
}
