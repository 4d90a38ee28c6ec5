package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class LlamaWeightsTest {
  private static final long LLAMA_7B_PARAMETERS = 6_738_415_616L;

  private static LlamaConfig config(boolean tied, boolean biases, boolean qkNorm) {
    return new LlamaConfig(
        "llama",
        11,
        12,
        2,
        4,
        2,
        6,
        7,
        1e-5,
        tied,
        biases,
        biases,
        biases,
        qkNorm,
        List.of(0, 0),
        10_000,
        new RopeScaling.None(),
        32,
        0.02,
        OptionalInt.empty(),
        List.of());
  }

  private static Map<String, List<Long>> shapes(LlamaConfig config) {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    LlamaWeights.specs(config).forEach(spec -> shapes.put(spec.name(), spec.shape()));
    return shapes;
  }

  private static String error(LlamaConfig config, Map<String, List<Long>> found) {
    return assertThrows(UserError.class, () -> LlamaWeights.check(config, found, "m")).getMessage();
  }

  @Test
  void everyParameterHasHuggingFacesNameAndShape() {
    Map<String, List<Long>> shapes = shapes(config(false, true, true));
    assertEquals(List.of(11L, 12L), shapes.get("model.embed_tokens.weight"));
    assertEquals(List.of(12L), shapes.get("model.layers.1.input_layernorm.weight"));
    assertEquals(List.of(24L, 12L), shapes.get("model.layers.1.self_attn.q_proj.weight"));
    assertEquals(List.of(24L), shapes.get("model.layers.1.self_attn.q_proj.bias"));
    assertEquals(List.of(12L, 12L), shapes.get("model.layers.1.self_attn.k_proj.weight"));
    assertEquals(List.of(12L), shapes.get("model.layers.1.self_attn.v_proj.bias"));
    assertEquals(List.of(6L), shapes.get("model.layers.1.self_attn.q_norm.weight"));
    assertEquals(List.of(6L), shapes.get("model.layers.1.self_attn.k_norm.weight"));
    assertEquals(List.of(12L, 24L), shapes.get("model.layers.1.self_attn.o_proj.weight"));
    assertEquals(List.of(12L), shapes.get("model.layers.1.post_attention_layernorm.weight"));
    assertEquals(List.of(7L, 12L), shapes.get("model.layers.1.mlp.gate_proj.weight"));
    assertEquals(List.of(12L, 7L), shapes.get("model.layers.1.mlp.down_proj.weight"));
    assertEquals(List.of(12L), shapes.get("model.layers.1.mlp.down_proj.bias"));
    assertEquals(List.of(12L), shapes.get("model.norm.weight"));
    assertEquals(List.of(11L, 12L), shapes.get("lm_head.weight"));
    assertEquals(3 + 2 * (9 + 2 + 7), shapes.size());
    assertEquals(2 + 2 * 9, shapes(config(true, false, false)).size());
  }

  @Test
  void theNamedSizeHasItsPublishedNumberOfParameters() {
    long parameters = 0;
    for (WeightSpec spec : LlamaWeights.specs(ModelSizes.config("llama", "7b").llama())) {
      parameters += spec.elements();
    }
    assertEquals(LLAMA_7B_PARAMETERS, parameters);
  }

  @Test
  void unknownFamiliesAndSizesAreRefused() {
    assertTrue(
        assertThrows(UserError.class, () -> ModelSizes.config("t5", "small"))
            .getMessage()
            .contains("not built yet"));
    assertEquals(
        "model.size: '8b' is unknown for llama; known: 7b, 13b, 33b, 65b",
        assertThrows(UserError.class, () -> ModelSizes.config("llama", "8b")).getMessage());
    assertTrue(
        assertThrows(UserError.class, () -> ModelSizes.config("lama", "7b"))
            .getMessage()
            .contains("unknown"));
  }

  @Test
  void missingExtraAndWronglyShapedTensorsAreNamed() {
    LlamaConfig config = config(false, false, false);
    Map<String, List<Long>> found = shapes(config);
    LlamaWeights.check(config, found, "m");

    found.remove("model.norm.weight");
    assertEquals("m: 1 tensor is missing: model.norm.weight", error(config, found));

    found.put("model.norm.weight", List.of(13L));
    assertEquals(
        "m: tensor model.norm.weight: got shape [13], config.json needs [12]",
        error(config, found));

    found.put("model.norm.weight", List.of(12L));
    found.put("model.layers.2.mlp.up_proj.weight", List.of(7L, 12L));
    assertEquals(
        "m: 1 tensor is not part of a llama model with this config.json:"
            + " model.layers.2.mlp.up_proj.weight",
        error(config, found));

    String many = error(config, Map.of());
    assertTrue(many.startsWith("m: 21 tensors are missing: model.embed_tokens.weight, "), many);
    assertTrue(many.endsWith(", ..."), many);
  }

  @Test
  void rotaryBuffersAndATiedOutputProjectionAreLetThrough() {
    LlamaConfig config = config(true, false, false);
    Map<String, List<Long>> found = shapes(config);
    found.put("lm_head.weight", List.of(11L, 12L));
    found.put("model.layers.0.self_attn.rotary_emb.inv_freq", List.of(3L));
    assertDoesNotThrow(() -> LlamaWeights.check(config, found, "m"));
  }
}
