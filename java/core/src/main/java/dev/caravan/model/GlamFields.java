package dev.caravan.model;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.kernels.Experts;
import dev.caravan.ops.Glu;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The keys of a GLaM config, which is Caravan's own: {@code hidden_size}, {@code intermediate_size},
 * {@code num_hidden_layers}, {@code num_attention_heads}, {@code head_dim}, {@code vocab_size}, {@code
 * num_experts} (0 or absent: dense), {@code num_experts_per_tok}, {@code moe_intermediate_size}, {@code
 * sparse_layers} (a list; absent: every other layer, the first one sparse), {@code
 * shared_expert_intermediate_size} (0 or absent: none; else the width of an expert that every token of a
 * sparse layer goes through besides, behind a sigmoid gate), {@code hidden_act}, {@code
 * relative_attention_num_buckets} and {@code relative_attention_max_distance}; {@code norm_topk_prob}, by
 * default true but with one expert a token, whose weight divided by itself would teach the router nothing:
 * Switch keeps it as it is (Fedus et al. 2021, arXiv 2101.03961, eq. 2).
 */
record GlamFields(JsonFields f) {
  private static final String SPARSE = "sparse_layers";
  private static final String SHARED = "shared_expert_intermediate_size";
  private static final int MAX_POSITION = 1024; // as trained: arXiv 2112.06905, section 5.1

  GlamConfig read(List<Integer> eosIds) {
    int dModel = f.integer("hidden_size", 1);
    int heads = f.integer("num_attention_heads", 1);
    int layers = f.integer("num_hidden_layers", 1);
    int ffn = f.integer("intermediate_size", 1);
    if (!f.has("head_dim") && dModel % heads != 0) {
      throw f.wrong("hidden_size", "a multiple of num_attention_heads " + heads);
    }
    Glu.Activation activation = activation();
    if (!f.bool("tie_word_embeddings", true)) {
      throw f.wrong("tie_word_embeddings", "true, as a glam model's are");
    }
    int buckets = f.integer("relative_attention_num_buckets", 2, 32);
    return new GlamConfig(
        f.integer("vocab_size", 1),
        dModel,
        layers,
        heads,
        f.integer("head_dim", 1, Math.max(1, dModel / heads)),
        ffn,
        activation,
        f.positive("rms_norm_eps", 1e-6),
        buckets,
        f.integer("relative_attention_max_distance", buckets, 128),
        f.integer("max_position_embeddings", 1, MAX_POSITION),
        f.positive("initializer_range", 0.02),
        f.has("bos_token_id") ? OptionalInt.of(f.integer("bos_token_id", 0)) : OptionalInt.empty(),
        eosIds,
        experts(layers, ffn, activation));
  }

  private Glu.Activation activation() {
    String act = f.text("hidden_act", "gelu_pytorch_tanh");
    return switch (act) {
      case "gelu_pytorch_tanh", "gelu_new" -> Glu.Activation.GELU_TANH;
      case "gelu" -> Glu.Activation.GELU;
      default -> throw f.wrong("hidden_act", "\"gelu\" or \"gelu_pytorch_tanh\"");
    };
  }

  private Optional<ExpertsConfig> experts(int layers, int ffn, Glu.Activation activation) {
    int experts = f.integer("num_experts", 0, 0);
    if (experts == 0) {
      for (String key : List.of(SPARSE, SHARED)) {
        if (f.has(key)) {
          throw f.wrong(key, "num_experts beside it, of at least 1");
        }
      }
      return Optional.empty();
    }
    if (experts > Experts.MAX) {
      throw f.wrong("num_experts", "at most " + Experts.MAX);
    }
    int choices = f.integer("num_experts_per_tok", 1, 2);
    if (choices > experts) {
      throw f.wrong("num_experts_per_tok", "at most num_experts " + experts);
    }
    return Optional.of(
        new ExpertsConfig(
            experts,
            choices,
            f.integer("moe_intermediate_size", 1, ffn),
            activation == Glu.Activation.GELU
                ? Experts.Activation.GELU
                : Experts.Activation.GELU_TANH,
            f.bool("norm_topk_prob", choices > 1),
            sparse(layers),
            0,
            "mlp",
            f.integer(SHARED, 0, 0)));
  }

  private List<Boolean> sparse(int layers) {
    String needs = "a list of layers from 0 to " + (layers - 1) + ", at least one";
    List<Integer> stated = f.indices(SPARSE, needs);
    List<Boolean> sparse = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      sparse.add(stated == null ? layer % 2 == 0 : stated.contains(layer));
    }
    boolean beyond = stated != null && stated.stream().anyMatch(layer -> layer >= layers);
    if (beyond || !sparse.contains(true)) {
      throw f.wrong(SPARSE, needs);
    }
    return sparse;
  }

  /** Fills in what a reader needs of a config. */
  static void write(GlamConfig c, ObjectNode out) {
    out.put("head_dim", c.headDim());
    out.put("rms_norm_eps", c.eps());
    out.put("max_position_embeddings", c.maxPosition());
    out.put("tie_word_embeddings", true);
    out.put("relative_attention_num_buckets", c.buckets());
    out.put("relative_attention_max_distance", c.maxDistance());
    out.put(
        "hidden_act", c.activation() == Glu.Activation.GELU ? "gelu" : "gelu_pytorch_tanh");
  }
}
