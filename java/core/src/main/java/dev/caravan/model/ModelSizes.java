package dev.caravan.model;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Published model sizes that a run file can name, as Hugging Face configs. */
public final class ModelSizes {
  private record Llama(int dModel, int layers, int heads, int ffn) {}

  /**
   * LLaMA (Touvron et al. 2023a), table 2; widths of the feed-forward layers from its checkpoints.
   */
  private static final Map<String, Llama> LLAMA = new LinkedHashMap<>();

  static {
    LLAMA.put("7b", new Llama(4096, 32, 32, 11_008));
    LLAMA.put("13b", new Llama(5120, 40, 40, 13_824));
    LLAMA.put("33b", new Llama(6656, 60, 52, 17_920));
    LLAMA.put("65b", new Llama(8192, 80, 64, 22_016));
  }

  private static final List<String> NOT_BUILT_YET = List.of("glam", "palm", "t5");

  private ModelSizes() {}

  /**
   * The config of a named size.
   *
   * @throws UserError if the family or the size is unknown or not built yet
   */
  public static HfConfig config(String family, String size) {
    if (NOT_BUILT_YET.contains(family)) {
      throw new UserError("model.family: '" + family + "' is not built yet; known: llama");
    }
    if (!family.equals("llama")) {
      throw new UserError("model.family: '" + family + "' is unknown; known: llama");
    }
    Llama llama = LLAMA.get(size);
    if (llama == null) {
      throw new UserError(
          "model.size: '"
              + size
              + "' is unknown for llama; known: "
              + String.join(", ", LLAMA.keySet()));
    }
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add("LlamaForCausalLM");
    json.put("model_type", "llama");
    json.put("vocab_size", 32_000);
    json.put("hidden_size", llama.dModel());
    json.put("intermediate_size", llama.ffn());
    json.put("num_hidden_layers", llama.layers());
    json.put("num_attention_heads", llama.heads());
    json.put("num_key_value_heads", llama.heads());
    json.put("hidden_act", "silu");
    json.put("max_position_embeddings", 2048);
    json.put("initializer_range", 0.02);
    json.put("rms_norm_eps", 1e-6);
    json.put("rope_theta", 10_000.0);
    json.put("tie_word_embeddings", false);
    json.put("bos_token_id", 1);
    json.put("eos_token_id", 2);
    return HfConfig.of(json, "llama " + size);
  }
}
