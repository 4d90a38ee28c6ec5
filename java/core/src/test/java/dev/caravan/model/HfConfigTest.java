package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HfConfigTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static final String LLAMA =
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 512,
       "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 3,
       "num_attention_heads": 8, "num_key_value_heads": 4, "rms_norm_eps": 1e-05,
       "max_position_embeddings": 256, "pad_token_id": null, "hidden_act": "silu"}
      """;

  /**
   * The llama config above with the given keys put over it; null removes nothing, it stays null.
   */
  private static ObjectNode llama(String over) {
    try {
      ObjectNode node = (ObjectNode) JSON.readTree(LLAMA);
      JsonNode extra = JSON.readTree(over);
      extra.properties().forEach(e -> node.set(e.getKey(), e.getValue()));
      return node;
    } catch (IOException e) {
      throw new IllegalArgumentException(e);
    }
  }

  private static LlamaConfig read(String over) {
    return HfConfig.of(llama(over), "config.json").llama();
  }

  private static String error(String over) {
    return assertThrows(UserError.class, () -> read(over)).getMessage();
  }

  @Test
  void readsWhatTransformers4Writes() {
    LlamaConfig c =
        read(
            """
            {"rope_theta": 500000.0, "torch_dtype": "bfloat16", "tie_word_embeddings": true,
             "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
             "attention_bias": true, "mlp_bias": true, "head_dim": null,
             "bos_token_id": 1, "eos_token_id": [2, 5]}
            """);
    assertEquals("llama", c.modelType());
    assertEquals(512, c.vocab());
    assertEquals(64, c.dModel());
    assertEquals(3, c.layers());
    assertEquals(8, c.heads());
    assertEquals(4, c.kvHeads());
    assertEquals(8, c.headDim());
    assertEquals(172, c.ffn());
    assertEquals(1e-5, c.eps());
    assertEquals(256, c.maxPosition());
    assertEquals(500_000, c.ropeTheta());
    assertEquals(new RopeScaling.Llama3(8, 1, 4, 8192), c.ropeScaling());
    assertTrue(c.tied());
    assertTrue(c.qkvBias());
    assertTrue(c.oBias());
    assertTrue(c.mlpBias());
    assertFalse(c.qkNorm());
    assertEquals(List.of(0, 0, 0), c.slidingWindow());
    assertEquals(1, c.bosId().getAsInt());
    assertEquals(List.of(2, 5), c.eosIds());
  }

  @Test
  void readsWhatTransformers5Writes() {
    LlamaConfig c =
        read(
            """
            {"dtype": "float32", "head_dim": 8, "rope_parameters":
              {"rope_type": "linear", "rope_theta": 20000.0, "factor": 2}}
            """);
    assertEquals(20_000, c.ropeTheta());
    assertEquals(new RopeScaling.Linear(2), c.ropeScaling());
    assertFalse(c.tied());
    assertTrue(c.bosId().isEmpty());
    assertEquals(List.of(), c.eosIds());
  }

  @Test
  void takesTransformersDefaultsForWhatIsAbsent() {
    LlamaConfig c = read("{\"num_key_value_heads\": null, \"rms_norm_eps\": null}");
    assertEquals(8, c.kvHeads());
    assertEquals(1e-6, c.eps());
    assertEquals(10_000, c.ropeTheta());
    assertInstanceOf(RopeScaling.None.class, c.ropeScaling());
    assertEquals(0.02, c.initializerRange());
  }

  @Test
  void qwen2HasQkvBiasesAndWindowsInTheUpperLayers() {
    String qwen =
        "{\"model_type\": \"qwen2\", \"architectures\": [\"Qwen2ForCausalLM\"],"
            + " \"sliding_window\": 128, \"max_window_layers\": 1";
    LlamaConfig off = read(qwen + ", \"use_sliding_window\": false}");
    assertTrue(off.qkvBias());
    assertFalse(off.oBias());
    assertEquals(List.of(0, 0, 0), off.slidingWindow());
    LlamaConfig on = read(qwen + ", \"use_sliding_window\": true}");
    assertEquals(List.of(0, 128, 128), on.slidingWindow());
    LlamaConfig stated =
        read(
            qwen
                + ", \"use_sliding_window\": true, \"layer_types\":"
                + " [\"sliding_attention\", \"full_attention\", \"sliding_attention\"]}");
    assertEquals(List.of(128, 0, 128), stated.slidingWindow());
  }

  @Test
  void qwen3NormalisesHeadsAndHasItsOwnHeadWidth() {
    String qwen = "{\"model_type\": \"qwen3\", \"architectures\": [\"Qwen3ForCausalLM\"]";
    LlamaConfig c = read(qwen + "}");
    assertTrue(c.qkNorm());
    assertFalse(c.qkvBias());
    assertEquals(128, c.headDim());
    assertEquals(1024, c.qDim());
    assertEquals(512, c.kvDim());
    assertEquals(32_768, read(qwen + ", \"max_position_embeddings\": null}").maxPosition());
  }

  @Test
  void mistralHasOneWindowUnlessItIsNull() {
    String mistral = "{\"model_type\": \"mistral\", \"architectures\": [\"MistralForCausalLM\"]";
    assertEquals(List.of(4096, 4096, 4096), read(mistral + "}").slidingWindow());
    assertEquals(List.of(9, 9, 9), read(mistral + ", \"sliding_window\": 9}").slidingWindow());
    assertEquals(List.of(0, 0, 0), read(mistral + ", \"sliding_window\": null}").slidingWindow());
    assertFalse(read(mistral + ", \"attention_bias\": true}").qkvBias());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'hidden_act': 'gelu'}|hidden_act",
        "{'attention_dropout': 0.1}|attention_dropout",
        "{'quantization_config': {'bits': 4}}|quantization_config",
        "{'partial_rotary_factor': 0.5}|partial_rotary_factor",
        "{'sliding_window': 128}|sliding_window",
        "{'rope_scaling': {'rope_type': 'longrope', 'factor': 2}}|longrope",
        "{'rope_scaling': {'rope_type': 'linear'}}|rope_scaling.factor: missing",
        "{'rope_scaling': {'rope_type': 'linear', 'factor': 0.5}}|factor: got 0.5",
        "{'rope_parameters': {'full_attention': {'rope_theta': 1}}}|not built yet",
        "{'num_key_value_heads': 3}|num_key_value_heads: got 3, needs a divisor",
        "{'hidden_size': 60}|hidden_size: got 60, needs a multiple",
        "{'head_dim': 7}|head_dim: got 7",
        "{'vocab_size': null}|vocab_size: missing",
        "{'hidden_size': -1}|hidden_size: got -1, needs a whole number of at least 1",
        "{'num_hidden_layers': 'three'}|num_hidden_layers: got \"three\"",
        "{'rms_norm_eps': 0}|rms_norm_eps: got 0, needs a number above 0",
        "{'tie_word_embeddings': 1}|tie_word_embeddings: got 1, needs true or false",
        "{'eos_token_id': [1, 'x']}|eos_token_id",
      })
  void refusesByName(String over, String part) {
    String message = error(over.replace('\'', '"'));
    assertTrue(message.startsWith("config.json: "), message);
    assertTrue(message.contains(part), message);
  }

  @Test
  void anUnknownArchitectureNamesThoseKnown() {
    assertEquals(
        "config.json: model_type: 'gpt2' is unknown; known: glam, llama, mistral, mixtral, olmoe, qwen2, qwen2_moe, qwen3, qwen3_moe",
        error("{\"model_type\": \"gpt2\"}"));
    assertEquals(
        "config.json: architectures: 'LlamaForTokenClassification' is unknown for model_type"
            + " 'llama'; known: GlamForCausalLM, LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM,"
            + " OlmoeForCausalLM, Qwen2ForCausalLM, Qwen2MoeForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM",
        error("{\"architectures\": [\"LlamaForTokenClassification\"]}"));
    assertTrue(
        error("{\"model_type\": null, \"architectures\": null}").contains("model_type: missing"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"t5", "palm", "mt5", "deepseek_v3"})
  void familiesOfLaterAreNotBuiltYet(String type) {
    String message = error("{\"model_type\": \"" + type + "\"}");
    assertTrue(message.contains("'" + type + "' is not built yet"), message);
  }

  @Test
  void theArchitectureAloneTellsTheFamily() {
    assertEquals(
        "mistral",
        read("{\"model_type\": null, \"architectures\": [\"MistralForCausalLM\"]}").modelType());
  }

  private static final String GLAM =
      """
      {"model_type": "glam", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96,
       "num_hidden_layers": 4, "num_attention_heads": 4%s}
      """;

  private static HfConfig glam(String more) throws IOException {
    return HfConfig.of(JSON.readTree(GLAM.formatted(more)), "config.json");
  }

  private static String glamError(String more) {
    return assertThrows(UserError.class, () -> glam(more)).getMessage();
  }

  @Test
  void glamHasItsOwnKeys() throws IOException {
    GlamConfig dense = (GlamConfig) glam("").config();
    assertEquals(16, dense.headDim());
    assertTrue(dense.experts().isEmpty());
    HfConfig config = glam(", \"num_experts\": 8, \"head_dim\": 32");
    ExpertsConfig experts = config.config().experts().orElseThrow();
    assertEquals(List.of(true, false, true, false), experts.sparse());
    assertEquals(2, experts.choices());
    assertEquals(96, experts.ffn());
    assertEquals(128, config.config().qDim());
    JsonNode written = JSON.readTree(config.toJson("float32"));
    assertEquals(config.config(), HfConfig.of(written, "b").config());
    assertEquals("GlamForCausalLM", written.at("/architectures/0").asText());
    assertEquals(
        List.of(false, true, true, false),
        glam(", \"num_experts\": 8, \"sparse_layers\": [1, 2]")
            .config()
            .experts()
            .orElseThrow()
            .sparse());
  }

  @Test
  void glamMayHaveAListOfSparseLayersAndASharedExpert() throws IOException {
    HfConfig config =
        glam(
            ", \"num_experts\": 8, \"sparse_layers\": [3, 1, 2],"
                + " \"shared_expert_intermediate_size\": 24");
    ExpertsConfig experts = config.config().experts().orElseThrow();
    assertEquals(List.of(false, true, true, true), experts.sparse());
    assertEquals(List.of(0, 1, 2), List.of(experts.index(1), experts.index(2), experts.index(3)));
    assertEquals(24, experts.shared());
    JsonNode written = JSON.readTree(config.toJson("float32"));
    assertEquals(config.config(), HfConfig.of(written, "b").config());

    String shared = "model.layers.2.mlp.shared_expert.up_proj";
    assertEquals(
        List.of(new ExpertWeights.Piece(shared + ".weight", List.of(24L, 64L), 0)),
        ExpertWeights.pieces(experts.sharedFirst(2), List.of(1L, 24L, 64L)));
    assertEquals(shared, experts.sharedFirst(2));

    // Of each sparse layer: router, two matrices of each of 8 experts; shared gate and two matrices.
    long dense = 4 * (2 * 64 + 4 * 64 * 64 + 32 * 4) + 3 * 64 * 96 + 64 + 100 * 64;
    long router = 8 * 64;
    long expert = 2 * 64 * 96;
    long other = 64 + 2 * 64 * 24;
    LlamaCost cost = new LlamaCost(config.config());
    assertEquals(dense + 3 * (router + 8 * expert + other), cost.parameters());
    long active = dense + 3 * (router + 2 * expert + other);
    assertEquals(active, cost.activeParameters());
    long products = active - 4 * (2 * 64 + 32 * 4) - 64; // without gains and positions
    assertEquals(
        6.0 * products + 4 * 12.0 * 64 * (16 + 1) / 2, cost.trainingFlopsPerToken(16), 1e-6);
  }

  @Test
  void layersOfQwensModelsMayAllBeDense() {
    String moe =
        "{\"architectures\": null, \"model_type\": \"qwen3_moe\", \"num_experts\": 4, \"num_experts_per_tok\": 2,"
            + " \"mlp_only_layers\": %s}";
    LlamaConfig some = read(moe.formatted("[1]"));
    assertFalse(some.sparse(1));
    assertEquals(some.layers() - 1, some.experts().orElseThrow().layers());
    int[] all = IntStream.range(0, some.layers()).toArray();
    assertTrue(read(moe.formatted(Arrays.toString(all))).experts().isEmpty());
    assertTrue(read(moe.formatted("[1, 90]")).experts().isPresent());
    for (String list : new String[] {"3", "[-1]", "[\"0\"]"}) {
      assertEquals(
          "config.json: mlp_only_layers: got " + list + ", needs a list of layers, counted from 0",
          error(moe.formatted(list)));
    }
  }

  /** The weight of a single choice is its probability, else its router had no gradient. */
  @Test
  void glamDividesWeightsByTheirSumWhereThereAreSeveral() throws IOException {
    String two = ", \"num_experts\": 4";
    String one = two + ", \"num_experts_per_tok\": 1";
    assertTrue(glam(two).config().experts().orElseThrow().renormalise());
    assertFalse(glam(one).config().experts().orElseThrow().renormalise());
    assertTrue(
        glam(one + ", \"norm_topk_prob\": true").config().experts().orElseThrow().renormalise());
  }

  @Test
  void glamRefusesWhatDoesNotFit() {
    assertEquals(
        "config.json: num_experts_per_tok: got 3, needs at most num_experts 2",
        glamError(", \"num_experts\": 2, \"num_experts_per_tok\": 3"));
    for (String list : new String[] {"[4]", "[0,-1]", "[]", "1", "\"all\"", "[0.5]", "[[1]]"}) {
      assertEquals(
          "config.json: sparse_layers: got "
              + list
              + ", needs a list of layers from 0 to 3, at least one",
          glamError(", \"num_experts\": 2, \"sparse_layers\": " + list));
    }
    assertEquals(
        "config.json: sparse_layers: got [1], needs num_experts beside it, of at least 1",
        glamError(", \"sparse_layers\": [1]"));
    assertEquals(
        "config.json: shared_expert_intermediate_size: got 8, needs num_experts beside it, of at"
            + " least 1",
        glamError(", \"num_experts\": 0, \"shared_expert_intermediate_size\": 8"));
    assertEquals(
        "config.json: shared_expert_intermediate_size: got -8, needs a whole number of at least 0",
        glamError(", \"num_experts\": 2, \"shared_expert_intermediate_size\": -8"));
    assertEquals(
        "config.json: hidden_act: got \"silu\", needs \"gelu\" or \"gelu_pytorch_tanh\"",
        glamError(", \"hidden_act\": \"silu\""));
    assertEquals(
        "config.json: tie_word_embeddings: got false, needs true, as a glam model's are",
        glamError(", \"tie_word_embeddings\": false"));
  }

  @Test
  void whatIsWrittenReadsBackAndKeepsUnknownKeys() throws IOException {
    HfConfig config =
        HfConfig.of(
            llama(
                """
                {"my_note": {"a": [1, 2]}, "rope_theta": 30000, "torch_dtype": "float16",
                 "rope_scaling": {"type": "yarn", "factor": 4, "mscale": 1.0, "truncate": false,
                   "attention_factor": 1.5}}
                """),
            "a");
    JsonNode written = JSON.readTree(config.toJson("bfloat16"));
    assertEquals(config.llama(), HfConfig.of(written, "b").llama());
    assertEquals("bfloat16", written.get("dtype").asText());
    assertEquals("bfloat16", written.get("torch_dtype").asText());
    assertEquals("{\"a\":[1,2]}", written.get("my_note").toString());
    assertEquals(256, written.at("/rope_parameters/original_max_position_embeddings").asInt());
    assertEquals(30_000, written.at("/rope_parameters/rope_theta").asInt());
    assertEquals("yarn", written.at("/rope_scaling/rope_type").asText());
    assertTrue(written.get("pad_token_id").isNull());
  }

  @Test
  void filesThatAreMissingOrNotJsonAreNamed(@TempDir Path dir) throws IOException {
    Path file = dir.resolve("config.json");
    UserError missing = assertThrows(UserError.class, () -> HfConfig.read(dir));
    assertTrue(missing.getMessage().startsWith(file + ": no such file"));
    Files.writeString(file, "{\"model_type\": \"llama\",\n oops");
    UserError broken = assertThrows(UserError.class, () -> HfConfig.read(dir));
    assertTrue(broken.getMessage().startsWith(file + ": not JSON: "), broken.getMessage());
    assertTrue(broken.getMessage().contains("line 2"), broken.getMessage());
    assertEquals(1, broken.getMessage().lines().count());
    Files.writeString(file, LLAMA);
    assertEquals(64, HfConfig.read(dir).llama().dModel());
    assertEquals(64, HfConfig.read(file).llama().dModel());
  }
}
