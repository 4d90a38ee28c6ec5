package dev.caravan.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;

/**
 * A Hugging Face {@code config.json}, as transformers 4 and 5 write it. Keys that Caravan does not
 * know are kept and written back; keys that would change the computation in a way that is not built
 * are refused by name.
 */
public final class HfConfig {
  private static final ObjectMapper JSON =
      JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  /** model_type to the one architecture of it that is built. */
  private static final Map<String, String> FAMILIES =
      new TreeMap<>(
          Map.of(
              "llama", "LlamaForCausalLM",
              "mistral", "MistralForCausalLM",
              "qwen2", "Qwen2ForCausalLM",
              "qwen3", "Qwen3ForCausalLM",
              "mixtral", "MixtralForCausalLM",
              "qwen3_moe", "Qwen3MoeForCausalLM",
              "qwen2_moe", "Qwen2MoeForCausalLM",
              "olmoe", "OlmoeForCausalLM",
              GlamConfig.TYPE, "GlamForCausalLM"));

  private static final Set<String> NOT_BUILT_YET =
      Set.of(
          "t5",
          "mt5",
          "umt5",
          "palm",
          "switch_transformers",
          "deepseek_v3");

  private final ObjectNode json;
  private final String where;
  private final DecoderConfig config;

  private HfConfig(ObjectNode json, String where) {
    this.json = json;
    this.where = where.isEmpty() ? "" : where + ": ";
    JsonFields f = new JsonFields(json, this.where);
    String type = modelType(f);
    refuseWhatIsNotBuilt(f, type);
    this.config =
        type.equals(GlamConfig.TYPE)
            ? new GlamFields(f).read(eosIds(f))
            : readLlama(f, type);
  }

  /**
   * Reads a config file.
   *
   * @param path the file, or the model folder that holds a config.json
   * @throws UserError if it is missing, is not JSON, lacks a dimension, or asks for what is not
   *     built
   */
  public static HfConfig read(Path path) {
    Path file = Files.isDirectory(path) ? path.resolve("config.json") : path;
    if (!Files.exists(file)) {
      throw new UserError(
          file + ": no such file; a model folder holds config.json and *.safetensors");
    }
    try {
      JsonNode tree = JSON.readTree(Files.readAllBytes(file));
      return of(tree, file.toString());
    } catch (JsonProcessingException e) {
      throw new UserError(file + ": not JSON: " + oneLine(e));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage());
    }
  }

  /**
   * Takes a config that was given in place, for example inside a run file.
   *
   * @param tree the object
   * @param where what errors name before the key; may be empty
   * @throws UserError as {@link #read}
   */
  public static HfConfig of(JsonNode tree, String where) {
    if (!(tree instanceof ObjectNode object)) {
      throw new UserError(where + ": got no object, needs one with Hugging Face's config keys");
    }
    return new HfConfig(object.deepCopy(), where);
  }

  /** The dimensions and choices of this config. */
  public DecoderConfig config() {
    return config;
  }

  /** The same of a config of the LLaMA family. */
  public LlamaConfig llama() {
    return (LlamaConfig) config;
  }

  /** A copy of everything that was read. */
  public ObjectNode json() {
    return json.deepCopy();
  }

  /**
   * The config in a form that transformers 4 and 5 both load: rotary values under both spellings,
   * {@code architectures}, {@code model_type}, {@code head_dim} and the element type filled in, and
   * all that was read besides.
   *
   * @param dtype element type of the weights that lie beside it: float32 or bfloat16
   */
  public String toJson(String dtype) {
    ObjectNode out = json.deepCopy();
    out.putArray("architectures").add(FAMILIES.get(config.modelType()));
    out.put("model_type", config.modelType());
    out.put("dtype", dtype);
    out.put("torch_dtype", dtype);
    if (config instanceof GlamConfig glam) {
      GlamFields.write(glam, out);
    } else {
      writeLlama(llama(), out);
    }
    try {
      return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(out) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void writeLlama(LlamaConfig llama, ObjectNode out) {
    out.put("head_dim", llama.headDim());
    out.put("num_key_value_heads", llama.kvHeads());
    out.put("rms_norm_eps", llama.eps());
    out.put("max_position_embeddings", llama.maxPosition());
    out.put("tie_word_embeddings", llama.tied());
    RopeParameters rope = new RopeParameters(llama.ropeTheta(), llama.ropeScaling());
    ObjectNode parameters = rope.toJson();
    out.put("rope_theta", llama.ropeTheta());
    if (llama.ropeScaling() instanceof RopeScaling.None) {
      out.remove("rope_scaling");
    } else {
      ObjectNode scaling = parameters.deepCopy();
      scaling.remove("rope_theta");
      out.set("rope_scaling", scaling);
    }
    out.set("rope_parameters", parameters);
  }

  private LlamaConfig readLlama(JsonFields f, String type) {
    int dModel = f.integer("hidden_size", 1);
    int heads = f.integer("num_attention_heads", 1);
    int layers = f.integer("num_hidden_layers", 1);
    int kvHeads = f.integer("num_key_value_heads", 1, defaultKvHeads(type, heads));
    if (heads % kvHeads != 0) {
      throw f.wrong("num_key_value_heads", "a divisor of num_attention_heads " + heads);
    }
    // transformers refuses a llama config whose heads do not divide its width, even with head_dim.
    boolean mustDivide = type.equals("llama") || (!type.equals("qwen3") && !f.has("head_dim"));
    if (mustDivide && dModel % heads != 0) {
      throw f.wrong("hidden_size", "a multiple of num_attention_heads " + heads);
    }
    int headDim = f.integer("head_dim", 2, type.equals("qwen3") ? 128 : dModel / heads);
    if (headDim % 2 != 0) {
      throw new UserError(where + "head_dim: got " + headDim + ", rotary embedding needs it even");
    }
    int maxPosition = f.integer("max_position_embeddings", 1, defaultMaxPosition(type));
    RopeParameters rope = RopeParameters.read(json, maxPosition, where);
    boolean attentionBias =
        Set.of("llama", "qwen3", "qwen3_moe", "olmoe").contains(type)
            && f.bool("attention_bias", false);
    return new LlamaConfig(
        type,
        f.integer("vocab_size", 1),
        dModel,
        layers,
        heads,
        kvHeads,
        headDim,
        f.integer("intermediate_size", 1),
        f.positive("rms_norm_eps", type.equals("mixtral") || type.equals("olmoe") ? 1e-5 : 1e-6),
        f.bool("tie_word_embeddings", false),
        attentionBias
            || type.equals("qwen2")
            || (type.equals("qwen2_moe") && f.bool("qkv_bias", true)),
        attentionBias,
        type.equals("llama") && f.bool("mlp_bias", false),
        Set.of("qwen3", "qwen3_moe", "olmoe").contains(type),
        slidingWindows(f, type, layers),
        rope.theta(),
        rope.scaling(),
        maxPosition,
        f.positive("initializer_range", 0.02),
        f.has("bos_token_id") ? OptionalInt.of(f.integer("bos_token_id", 0)) : OptionalInt.empty(),
        eosIds(f),
        type.equals("olmoe"),
        new ExpertFields(json, f).read(type, layers));
  }

  private String modelType(JsonFields f) {
    String type = f.text("model_type", "");
    if (NOT_BUILT_YET.contains(type)) {
      throw new UserError(where + "model_type: '" + type + "' is not built yet; " + known());
    }
    if (!type.isEmpty() && !FAMILIES.containsKey(type)) {
      throw new UserError(where + "model_type: '" + type + "' is unknown; " + known());
    }
    JsonNode architectures = json.path("architectures");
    if (architectures.isArray() && !architectures.isEmpty()) {
      String name = architectures.get(0).asText();
      for (Map.Entry<String, String> family : FAMILIES.entrySet()) {
        if (family.getValue().equals(name) && (type.isEmpty() || type.equals(family.getKey()))) {
          return family.getKey();
        }
      }
      String whose = type.isEmpty() ? "" : " for model_type '" + type + "'";
      throw new UserError(
          where
              + ("architectures: '" + name + "' is unknown" + whose + "; known: ")
              + String.join(", ", FAMILIES.values()));
    }
    if (type.isEmpty()) {
      throw new UserError(where + "model_type: missing; " + known());
    }
    return type;
  }

  private static String known() {
    return "known: " + String.join(", ", FAMILIES.keySet());
  }

  private void refuseWhatIsNotBuilt(JsonFields f, String type) {
    String act = f.text("hidden_act", "silu");
    if (!act.equals("silu") && !type.equals(GlamConfig.TYPE)) {
      throw f.wrong("hidden_act", "\"silu\", the only one that is built");
    }
    if (f.has("quantization_config")) {
      throw new UserError(where + "quantization_config: quantized weights are not built yet");
    }
    if (f.has("attention_dropout") && json.get("attention_dropout").asDouble() != 0) {
      throw f.wrong("attention_dropout", "0, dropout is not built yet");
    }
    if (f.has("clip_qkv")) {
      throw f.wrong("clip_qkv", "null, clipping of q, k and v is not built yet");
    }
    if (f.has("router_jitter_noise") && json.get("router_jitter_noise").asDouble() != 0) {
      throw f.wrong("router_jitter_noise", "0, jitter is not built yet");
    }
    if (type.equals("qwen2_moe") && f.bool("use_sliding_window", false)) {
      throw f.wrong("use_sliding_window", "false for qwen2_moe, a window is not built yet");
    }
    if (f.bool("use_mrope", false)) {
      throw f.wrong("use_mrope", "false, multimodal rotary embedding is not built yet");
    }
    if (type.equals("llama") && f.has("sliding_window") && f.bool("use_sliding_window", true)) {
      throw f.wrong("sliding_window", "null, a llama model has no sliding window");
    }
  }

  private List<Integer> slidingWindows(JsonFields f, String type, int layers) {
    boolean unstated = type.equals("mixtral") && !f.has("sliding_window");
    boolean never = Set.of("llama", "olmoe", "qwen2_moe").contains(type);
    if (never || unstated) {
      return Collections.nCopies(layers, 0);
    }
    // An absent key means the class default of transformers (4096); an explicit null means none.
    int window = json.has("sliding_window") ? f.integer("sliding_window", 1, 0) : 4096;
    boolean qwen = type.startsWith("qwen");
    if (qwen && !f.bool("use_sliding_window", false)) {
      window = 0;
    }
    List<Boolean> stated = statedSliding(f, layers);
    // transformers gives every mistral layer the window, whatever layer_types says.
    if (!qwen && stated != null && stated.contains(window == 0)) {
      throw f.wrong("layer_types", "the same attention in every layer of a mistral model");
    }
    int firstSliding = qwen ? f.integer("max_window_layers", 0, 28) : 0;
    List<Integer> windows = new ArrayList<>(layers);
    for (int layer = 0; layer < layers; layer++) {
      boolean sliding = stated != null ? stated.get(layer) : layer >= firstSliding;
      windows.add(sliding ? window : 0);
    }
    return windows;
  }

  /** For each layer whether layer_types calls it sliding; null where the key is absent. */
  private List<Boolean> statedSliding(JsonFields f, int layers) {
    if (!f.has("layer_types")) {
      return null;
    }
    JsonNode types = json.get("layer_types");
    if (!types.isArray() || types.size() != layers) {
      throw f.wrong("layer_types", "a list of num_hidden_layers = " + layers + " names");
    }
    List<Boolean> sliding = new ArrayList<>(layers);
    for (JsonNode type : types) {
      switch (type.asText()) {
        case "full_attention" -> sliding.add(false);
        case "sliding_attention" -> sliding.add(true);
        default ->
            throw new UserError(
                where
                    + "layer_types: '"
                    + type.asText()
                    + "' is not built; known: full_attention, sliding_attention");
      }
    }
    return sliding;
  }

  private List<Integer> eosIds(JsonFields f) {
    if (!f.has("eos_token_id")) {
      return List.of();
    }
    JsonNode value = json.get("eos_token_id");
    if (!value.isArray()) {
      return List.of(f.integer("eos_token_id", 0));
    }
    List<Integer> ids = new ArrayList<>();
    for (JsonNode id : value) {
      if (!id.isInt() || id.asInt() < 0) {
        throw f.wrong("eos_token_id", "a token id or a list of them");
      }
      ids.add(id.asInt());
    }
    return ids;
  }

  private static int defaultKvHeads(String type, int heads) {
    return switch (type) {
      case "mistral", "mixtral" -> 8;
      case "qwen3_moe" -> 4;
      default -> heads;
    };
  }

  private static int defaultMaxPosition(String type) {
    return switch (type) {
      case "llama" -> 2048;
      case "mistral", "mixtral" -> 131_072;
      case "olmoe" -> 4096;
      default -> 32_768;
    };
  }

  private static String oneLine(JsonProcessingException e) {
    String place =
        e.getLocation() == null
            ? ""
            : " at line "
                + e.getLocation().getLineNr()
                + ", column "
                + e.getLocation().getColumnNr();
    return e.getOriginalMessage().lines().findFirst().orElse("") + place;
  }
}
