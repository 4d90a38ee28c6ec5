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

  private record Glam(int dModel, int layers, int heads, int headDim, int ffn, int experts, int vocab) {}

  /**
   * GLaM (Du et al. 2021), table 4. Its parameter counts follow from 32,000 tokens, but for the largest
   * model's, which take the 256,000 that the text names.
   */
  private static final Map<String, Glam> GLAM = new LinkedHashMap<>();

  static {
    for (int experts : new int[] {0, 64}) {
      GLAM.put(name("0.1b", experts), new Glam(768, 12, 12, 64, 3072, experts, 32_000));
    }
    for (int experts : new int[] {0, 32, 64, 128, 256}) {
      GLAM.put(name("1.7b", experts), new Glam(2048, 24, 16, 128, 8192, experts, 32_000));
    }
    for (int experts : new int[] {0, 64}) {
      GLAM.put(name("8b", experts), new Glam(4096, 32, 32, 128, 16_384, experts, 32_000));
    }
    GLAM.put("137b", new Glam(8192, 64, 128, 128, 65_536, 0, 32_000));
    GLAM.put("64b-64e", new Glam(8192, 64, 128, 128, 32_768, 64, 256_000));
  }

  private static final List<String> NOT_BUILT_YET = List.of("palm", "t5");
  private static final String KNOWN = "known: glam, llama";

  private ModelSizes() {}

  /** Whether a family is not built yet, and at most its shape is known. */
  public static boolean isNotBuiltYet(String family) {
    return NOT_BUILT_YET.contains(family);
  }

  /**
   * The config of a named size.
   *
   * @throws UserError if the family or the size is unknown or not built yet
   */
  public static HfConfig config(String family, String size) {
    if (NOT_BUILT_YET.contains(family)) {
      String shape = "";
      if (!ModelShape.of(family).isEmpty()) {
        boolean pairs = find(ModelShape.of(family), family, size).isEncoderDecoder();
        shape = ", only plan knows its shape" + (pairs ? ", and preview what it would be given" : "");
      }
      throw new UserError("model.family: '" + family + "' is not built yet" + shape + "; " + KNOWN);
    }
    return switch (family) {
      case "glam" -> glam(size, find(GLAM, "glam", size));
      case "llama" -> llama(size, find(LLAMA, "llama", size));
      default -> throw new UserError("model.family: '" + family + "' is unknown; " + KNOWN);
    };
  }

  private static <T> T find(Map<String, T> sizes, String family, String size) {
    T found = sizes.get(size);
    if (found == null) {
      throw new UserError(
          "model.size: '"
              + size
              + "' is unknown for "
              + family
              + "; known: "
              + String.join(", ", sizes.keySet()));
    }
    return found;
  }

  private static String name(String size, int experts) {
    return experts == 0 ? size : size + "-" + experts + "e";
  }

  private static HfConfig glam(String size, Glam glam) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add("GlamForCausalLM");
    json.put("model_type", GlamConfig.TYPE);
    json.put("vocab_size", glam.vocab());
    json.put("hidden_size", glam.dModel());
    json.put("intermediate_size", glam.ffn());
    json.put("num_hidden_layers", glam.layers());
    json.put("num_attention_heads", glam.heads());
    json.put("head_dim", glam.headDim());
    if (glam.experts() > 0) {
      json.put("num_experts", glam.experts());
      json.put("num_experts_per_tok", 2);
    }
    json.put("max_position_embeddings", 1024);
    json.put("bos_token_id", 1);
    json.put("eos_token_id", 2);
    return HfConfig.of(json, "glam " + size);
  }

  private static HfConfig llama(String size, Llama llama) {
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
