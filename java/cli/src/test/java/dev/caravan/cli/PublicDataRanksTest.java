package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Ranks of every layout learn of real rows what one rank does, step by step. */
class PublicDataRanksTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int STEPS = 20;
  private static final double RELATIVE = 1e-5;

  private static final String SPARSE =
      "model={config: {model_type: mixtral, vocab_size: 512, hidden_size: 64, intermediate_size: 96,"
          + " num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,"
          + " num_local_experts: 4, num_experts_per_tok: 2, max_position_embeddings: 512}, seed: 1}";

  @TempDir Path dir;

  /** The metrics of a run, a line each. */
  private List<JsonNode> train(String name, String model, String layout, String recompute)
      throws IOException {
    List<String> rows = Files.readAllLines(PublicData.file("gsm8k/train.jsonl"));
    Path train = Files.write(dir.resolve("train.jsonl"), rows.subList(0, 160));
    Path heldOut = Files.write(dir.resolve("held-out.jsonl"), rows.subList(1000, 1016));
    List<String> args = new ArrayList<>(List.of("sft", "llama", "--device", "cpu"));
    List.of(
            model,
            "tokenizer=" + PublicData.file("weights/stories260K/tok512.bin"),
            "data={path: " + train + ", format: prompt,"
                + " fields: {prompt: question, target: answer}}",
            "eval={data: " + heldOut + ", every_steps: 10}",
            "sequence.length=512",
            "train={steps: " + STEPS + ", examples_per_step: 8, micro_batch_tokens: 1024}",
            "optimizer={lr: 1e-3, warmup_steps: 2, eps: 1e-3}",
            "parallel=" + layout,
            "recompute=" + recompute,
            "output=" + dir.resolve(name))
        .forEach(set -> args.addAll(List.of("--set", set)));
    Captured run = Captured.run(args.toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    List<JsonNode> metrics = new ArrayList<>();
    for (String line : Files.readAllLines(dir.resolve(name).resolve("metrics.jsonl"))) {
      metrics.add(JSON.readTree(line));
    }
    return metrics;
  }

  private byte[] weights(String name) throws IOException {
    return Files.readAllBytes(
        dir.resolve(name).resolve("checkpoints/step-" + STEPS + "/model.safetensors"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "dense|{data: 2}|none",
        "dense|{data: 3, shard: optimizer}|selective",
        "dense|{data: 4, shard: gradients}|full",
        "dense|{data: 2, shard: parameters}|full",
        "dense|{data: 1, tensor: 2}|none",
        "dense|{data: 2, tensor: 2, shard: parameters}|selective",
        "sparse|{data: 2, expert: 2}|none",
        "sparse|{data: 4, expert: 4, shard: parameters}|full",
        "sparse|{data: 2, tensor: 2, expert: 2}|selective"
      })
  void ranksLearnWhatOneLearns(String kind, String layout, String recompute) throws IOException {
    String model =
        kind.equals("sparse")
            ? SPARSE
            : "model.path=" + PublicData.file("weights/stories260K/hf");
    List<JsonNode> one = train("one", model, "{data: 1}", "none");
    List<JsonNode> many = train("many", model, layout, recompute);
    int compared = 0;
    for (String figure : List.of("loss", "grad_norm", "eval_loss")) {
      List<Double> expected = figures(one, figure);
      List<Double> actual = figures(many, figure);
      assertEquals(expected.size(), actual.size(), figure);
      for (int i = 0; i < expected.size(); i++) {
        double allowed = RELATIVE * expected.get(i);
        assertEquals(expected.get(i), actual.get(i), allowed, figure + " number " + i);
      }
      compared += expected.size();
    }
    assertTrue(compared >= 2 * STEPS + 2, compared + " figures");
    train("again", model, layout, recompute);
    assertArrayEquals(weights("many"), weights("again"), "from run to run");
  }

  private static List<Double> figures(List<JsonNode> metrics, String name) {
    return metrics.stream()
        .filter(line -> line.has(name))
        .map(line -> line.get(name).asDouble())
        .toList();
  }
}
