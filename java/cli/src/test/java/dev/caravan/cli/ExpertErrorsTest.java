package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What can be wrong with a model of sparse experts ends in one line and exit code 2. */
class ExpertErrorsTest {
  static final String MODEL =
      "model={seed: 1, config: {model_type: mixtral, vocab_size: 512, hidden_size: 32,"
          + " intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2,"
          + " num_key_value_heads: 2, max_position_embeddings: 256, num_local_experts: 4,"
          + " num_experts_per_tok: 2, tie_word_embeddings: true}}";

  @TempDir Path dir;
  private Path model;
  private Path config;

  @BeforeEach
  void train() {
    Captured run = Captured.run(TrainTest.arguments("sft", dir.resolve("run"), 1, MODEL));
    assertEquals(0, run.code(), run.err());
    model = dir.resolve("run/checkpoints/step-1");
    config = model.resolve("config.json");
  }

  /** The last line of a run on the folder, which ends with exit code 2. */
  private String error(String... assignments) {
    String[] sets = Arrays.copyOf(assignments, assignments.length + 1);
    sets[assignments.length] = "model={path: " + model + "}";
    Captured run = Captured.run(TrainTest.arguments("sft", dir.resolve("out"), 2, sets));
    assertEquals(2, run.code(), run.err());
    assertEquals("", run.out());
    assertFalse(run.err().contains("\tat "), run.err());
    String[] lines = run.err().strip().split("\n");
    return lines[lines.length - 1];
  }

  private String errorBeforeAnythingIsWritten(String... assignments) {
    String line = error(assignments);
    assertFalse(Files.exists(dir.resolve("out")), line);
    return line;
  }

  private void edit(String from, String to) throws IOException {
    String text = Files.readString(config);
    assertTrue(text.contains(from), text);
    Files.writeString(config, text.replace(from, to));
  }

  @Test
  void ranksThatDoNotDivide() {
    assertEquals(
        "caravan: parallel.expert: got 2, needs a divisor of parallel.data, which is 3",
        errorBeforeAnythingIsWritten("parallel={data: 3, expert: 2}"));
    assertEquals(
        "caravan: parallel.expert: got 3, needs a divisor of the model's 4 experts",
        errorBeforeAnythingIsWritten("parallel={data: 3, expert: 3}"));
    for (String layout : List.of("{data: 1, tensor: 3}", "{data: 2, tensor: 3, expert: 2}")) {
      assertEquals(
          "caravan: parallel.tensor: got 3, the model has 2 query heads, needs a multiple of 3",
          errorBeforeAnythingIsWritten("parallel=" + layout));
    }
  }

  @Test
  void exchangesThatLackSomething() {
    assertEquals(
        "caravan: parallel.expert_exchange: got padded, needs experts.capacity_factor beside it, which"
            + " says how many rows go to each rank",
        errorBeforeAnythingIsWritten("parallel={data: 2, expert: 2, expert_exchange: padded}"));
    assertEquals(
        "caravan: parallel.expert_exchange: got padded, needs parallel.expert of at least 2 beside it",
        errorBeforeAnythingIsWritten(
            "parallel={data: 2, expert_exchange: padded}", "experts.capacity_factor=1"));
    assertEquals(
        "caravan: parallel.expert_exchange: got exact, needs parallel.expert of at least 2 beside it",
        errorBeforeAnythingIsWritten("parallel.expert_exchange=exact"));
    String line = errorBeforeAnythingIsWritten("parallel.expert_exchange=all");
    assertTrue(line.contains("parallel.expert_exchange: got 'all', needs one of gather, padded, exact"),
        line);
  }

  @Test
  void secondChoicesThatRanksCannotAgreeOn() {
    assertEquals(
        "caravan: experts.second_expert: got random, needs parallel.expert_exchange of padded or exact"
            + " where ranks share the experts",
        errorBeforeAnythingIsWritten(
            "parallel={data: 2, expert: 2}", "experts.second_expert=random"));
  }

  @Test
  void moreExpertsThanTheFilesHold() throws IOException {
    edit("\"num_local_experts\" : 4", "\"num_local_experts\" : 5");
    assertEquals(
        "caravan: "
            + model
            + ": tensor model.layers.0.block_sparse_moe.gate.weight: got shape [4, 32], config.json"
            + " needs [5, 32]",
        errorBeforeAnythingIsWritten());
  }

  @Test
  void expertsOfAnotherWidth() throws IOException {
    edit("\"intermediate_size\" : 48", "\"intermediate_size\" : 64");
    assertEquals(
        "caravan: "
            + model
            + ": tensor model.layers.0.block_sparse_moe.experts.0.w1.weight: got shape [48, 32],"
            + " config.json needs [64, 32]",
        errorBeforeAnythingIsWritten());
    assertEquals(error(), error("parallel={data: 1, tensor: 2}"), "of a rank that reads a part");
  }

  @Test
  void moreChoicesThanExperts() throws IOException {
    edit("\"num_experts_per_tok\" : 2", "\"num_experts_per_tok\" : 5");
    assertEquals(
        "caravan: "
            + config
            + ": num_experts_per_tok: got 5, needs at most num_local_experts 4",
        errorBeforeAnythingIsWritten());
  }

  @Test
  void noRoomAtAll() {
    for (String factor : new String[] {"0", "-1.25"}) {
      String line = errorBeforeAnythingIsWritten("experts.capacity_factor=" + factor);
      assertTrue(line.contains("experts.capacity_factor: got " + factor), line);
    }
    String line = errorBeforeAnythingIsWritten("experts.group_size=64");
    assertEquals(
        "caravan: experts.group_size: got 64, needs a capacity_factor beside it", line);
  }

  /** Weights that are finite, and so large that a router's products are not. */
  @Test
  void routerLogitsThatAreNotFinite() throws IOException {
    Path file = model.resolve("model.safetensors");
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int header = (int) bytes.getLong(0);
    byte[] json = new byte[header];
    bytes.get(Long.BYTES, json);
    JsonNode place =
        new ObjectMapper()
            .readTree(new String(json, StandardCharsets.UTF_8))
            .get("model.layers.1.block_sparse_moe.gate.weight")
            .get("data_offsets");
    int first = Long.BYTES + header + place.get(0).asInt();
    int end = Long.BYTES + header + place.get(1).asInt();
    for (int at = first; at < end; at += Float.BYTES) {
      bytes.putFloat(at, at / Float.BYTES % 2 == 0 ? 3e38f : -3e38f);
    }
    Files.write(file, bytes.array());

    String line = errorBeforeAnythingIsWritten();
    assertTrue(
        line.startsWith(
            "caravan: step 1: layers.1: router logits are not finite, for examples ["),
        line);
    assertTrue(line.endsWith("; the weights were not updated"), line);

    Path others = Files.createDirectories(dir.resolve("out")).resolve("notes.txt");
    Files.writeString(others, "mine");
    error();
    assertEquals("mine", Files.readString(others));
    assertTrue(Files.exists(dir.resolve("out/config.yaml")), "a folder that was there is kept");
    assertFalse(Files.exists(dir.resolve("out/checkpoints")), line);
  }
}
