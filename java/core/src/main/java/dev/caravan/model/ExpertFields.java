package dev.caravan.model;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.kernels.Experts;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The keys of sparse experts in a Hugging Face config, with the defaults of transformers 5. */
record ExpertFields(JsonNode json, JsonFields f) {
  /** The experts of a family; empty where it, or every layer of the model, is dense. */
  Optional<ExpertsConfig> read(String type, int layers) {
    return ofFamily(type, layers).filter(experts -> experts.layers() > 0);
  }

  private Optional<ExpertsConfig> ofFamily(String type, int layers) {
    return switch (type) {
      case "mixtral" ->
          Optional.of(
              experts("num_local_experts", 8, 2, "intermediate_size", 14_336, true, layers,
                  ExpertWeights.MIXTRAL, 0.001));
      case "olmoe" ->
          Optional.of(
              experts("num_experts", 64, 8, "intermediate_size", 2048,
                  f.bool("norm_topk_prob", false), layers, "mlp", 0.01));
      case "qwen3_moe" ->
          Optional.of(
              experts("num_experts", 128, 8, "moe_intermediate_size", 768,
                  f.bool("norm_topk_prob", false), layers, "mlp", 0.001));
      case "qwen2_moe" ->
          Optional.of(
              experts("num_experts", 60, 4, "moe_intermediate_size", 1408,
                      f.bool("norm_topk_prob", false), layers, "mlp", 0.001)
                  .sharing(f.integer("shared_expert_intermediate_size", 1, 5632)));
      default -> Optional.empty();
    };
  }

  private ExpertsConfig experts(
      String count,
      int defaultCount,
      int defaultChoices,
      String ffn,
      int defaultFfn,
      boolean renormalise,
      int layers,
      String part,
      double defaultWeight) {
    // Published configs say num_experts where transformers 5 writes num_local_experts.
    String key = f.has(count) ? count : "num_local_experts";
    int experts = f.integer(key, 1, defaultCount);
    if (experts > Experts.MAX) {
      throw f.wrong(key, "at most " + Experts.MAX);
    }
    int choices = f.integer("num_experts_per_tok", 1, defaultChoices);
    if (choices > experts) {
      throw f.wrong("num_experts_per_tok", "at most " + key + " " + experts);
    }
    boolean losses = f.bool("output_router_logits", false);
    return new ExpertsConfig(
        experts,
        choices,
        f.integer(ffn, 1, defaultFfn),
        Experts.Activation.SWIGLU,
        renormalise,
        sparse(layers),
        losses ? weight(defaultWeight) : 0,
        part);
  }

  private double weight(double otherwise) {
    boolean none = f.has("router_aux_loss_coef") && json.get("router_aux_loss_coef").asDouble() == 0;
    return none ? 0 : f.positive("router_aux_loss_coef", otherwise);
  }

  /**
   * Every decoder_sparse_step-th layer, but for those of mlp_only_layers: keys of Qwen's. Layers that the
   * model has not got are let through, as transformers does.
   */
  private List<Boolean> sparse(int layers) {
    int step = f.integer("decoder_sparse_step", 1, 1);
    List<Integer> dense = f.indices("mlp_only_layers", "a list of layers, counted from 0");
    List<Boolean> sparse = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sparse.add((dense == null || !dense.contains(layer)) && (layer + 1) % step == 0);
    }
    return sparse;
  }
}
