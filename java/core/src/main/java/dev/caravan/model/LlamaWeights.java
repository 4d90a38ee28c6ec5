package dev.caravan.model;

import dev.caravan.data.UserError;
import dev.caravan.graph.Division;
import dev.caravan.model.WeightSpec.Init;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The parameters of a LLaMA-family model under the names that Hugging Face gives them, in the order
 * in which the model uses them.
 */
public final class LlamaWeights {
  /** Token embedding, [vocab, dModel]; also the output projection where the config ties them. */
  public static final String EMBEDDING = "model.embed_tokens.weight";

  /** Gain of the last RMSNorm, [dModel]. */
  public static final String FINAL_NORM = "model.norm.weight";

  /** Output projection, [vocab, dModel]; absent where the config ties it to the embedding. */
  public static final String OUTPUT = "lm_head.weight";

  /** Parts of a block, for {@link #weight} and {@link #bias}. */
  public static final String ATTENTION_NORM = "input_layernorm";

  public static final String Q = "self_attn.q_proj";
  public static final String K = "self_attn.k_proj";
  public static final String V = "self_attn.v_proj";
  public static final String O = "self_attn.o_proj";
  public static final String Q_NORM = "self_attn.q_norm";
  public static final String K_NORM = "self_attn.k_norm";
  public static final String FFN_NORM = "post_attention_layernorm";
  public static final String GATE = "mlp.gate_proj";
  public static final String UP = "mlp.up_proj";
  public static final String DOWN = "mlp.down_proj";

  private static final int NAMED_IN_ERROR = 3;

  private LlamaWeights() {}

  /** Name of a block's weight: {@code weight(3, Q)} is model.layers.3.self_attn.q_proj.weight. */
  public static String weight(int layer, String part) {
    return "model.layers." + layer + "." + part + ".weight";
  }

  /** Name of a block's bias. */
  public static String bias(int layer, String part) {
    return "model.layers." + layer + "." + part + ".bias";
  }

  /**
   * How tensor-parallel ranks divide the model: each has some of the heads, some of the width of the
   * feed-forward layers and of every expert, and some of the vocabulary if it is a multiple of the ranks.
   * Norms, but those over all heads, and routers are whole on every rank, and so are embedding and output
   * projection of any other vocabulary.
   *
   * @throws IllegalArgumentException if the heads, or a width, are no multiple of the ranks
   */
  public static Division division(LlamaConfig c, int ranks) {
    divides("query heads", c.heads(), ranks);
    divides("key and value heads", c.kvHeads(), ranks);
    Division division = division(c, c.ffn(), ranks);
    return c.wideQkNorm() ? division.withRows(qkNorms(c)) : division;
  }

  private static Set<String> qkNorms(LlamaConfig c) {
    Set<String> names = new HashSet<>();
    for (int layer = 0; layer < c.layers(); layer++) {
      names.add(weight(layer, Q_NORM));
      names.add(weight(layer, K_NORM));
    }
    return names;
  }

  /** The same of a model of any family whose heads can be divided, with dense layers of a width. */
  static Division division(DecoderConfig c, int ffn, int ranks) {
    if (c.experts().isEmpty() || c.experts().get().sparse().contains(false)) {
      divides("feed-forward columns", ffn, ranks);
    }
    c.experts()
        .ifPresent(
            e -> {
              divides("columns of an expert", e.ffn(), ranks);
              divides("columns of the shared expert", e.shared(), ranks);
            });
    Division blocks = new Division(ranks, LlamaWeights::split);
    return c.vocab() % ranks == 0 ? blocks.withRows(vocabulary(c)) : blocks;
  }

  /** The weights that have a row for each token of the vocabulary. */
  public static Set<String> vocabulary(DecoderConfig c) {
    return c.tied() ? Set.of(EMBEDDING) : Set.of(EMBEDDING, OUTPUT);
  }

  static void divides(String what, int count, int ranks) {
    if (ranks < 1 || count % ranks != 0) {
      throw new IllegalArgumentException(
          "the model has %d %s, needs a multiple of %d".formatted(count, what, ranks));
    }
  }

  private static Division.Split split(String name) {
    for (String part : List.of(Q, K, V, GATE, UP)) {
      if (name.contains("." + part + ".")) {
        return Division.Split.ROWS;
      }
    }
    if (name.contains("." + Q_NORM + ".") || name.contains("." + K_NORM + ".")) {
      return Division.Split.SHARED;
    }
    for (String part : List.of(O, DOWN, Glam.POSITIONS)) {
      if (name.endsWith("." + part + ".weight")) {
        return Division.Split.COLUMNS;
      }
    }
    return ExpertWeights.split(name);
  }

  /** Every parameter of the model. A tied output projection is not one of them. */
  public static List<WeightSpec> specs(LlamaConfig c) {
    List<WeightSpec> specs = new ArrayList<>();
    long d = c.dModel();
    specs.add(new WeightSpec(EMBEDDING, List.of((long) c.vocab(), d), Init.NORMAL));
    for (int layer = 0; layer < c.layers(); layer++) {
      norm(specs, layer, ATTENTION_NORM, d);
      linear(specs, layer, Q, c.qDim(), d, c.qkvBias());
      linear(specs, layer, K, c.kvDim(), d, c.qkvBias());
      linear(specs, layer, V, c.kvDim(), d, c.qkvBias());
      if (c.qkNorm()) {
        norm(specs, layer, Q_NORM, c.wideQkNorm() ? c.qDim() : c.headDim());
        norm(specs, layer, K_NORM, c.wideQkNorm() ? c.kvDim() : c.headDim());
      }
      linear(specs, layer, O, d, c.qDim(), c.oBias());
      norm(specs, layer, FFN_NORM, d);
      if (c.sparse(layer)) {
        experts(specs, c.experts().orElseThrow(), layer, d);
        continue;
      }
      linear(specs, layer, GATE, c.ffn(), d, c.mlpBias());
      linear(specs, layer, UP, c.ffn(), d, c.mlpBias());
      linear(specs, layer, DOWN, d, c.ffn(), c.mlpBias());
    }
    specs.add(new WeightSpec(FINAL_NORM, List.of(d), Init.ONES));
    if (!c.tied()) {
      specs.add(new WeightSpec(OUTPUT, List.of((long) c.vocab(), d), Init.NORMAL));
    }
    return specs;
  }

  /**
   * Checks that a checkpoint holds exactly the parameters of the model. Rotary buffers, which old
   * files carry, and an output projection beside a tied embedding are let through; neither is used.
   *
   * @param config the model
   * @param found shape of every tensor in the checkpoint, by name
   * @param where the checkpoint, for the error
   * @throws UserError naming what is wrongly shaped, missing or not part of the model
   */
  public static void check(DecoderConfig config, Map<String, List<Long>> found, String where) {
    Map<String, List<Long>> rest = new LinkedHashMap<>(found);
    List<String> missing = new ArrayList<>();
    for (WeightSpec spec : config.specs()) {
      for (ExpertWeights.Piece piece : pieces(spec.name(), spec.shape(), found)) {
        List<Long> shape = rest.remove(piece.name());
        if (shape == null) {
          missing.add(piece.name());
        } else if (!shape.equals(piece.shape())) {
          throw new UserError(
              where
                  + ": tensor "
                  + piece.name()
                  + ": got shape "
                  + shape
                  + ", config.json needs "
                  + piece.shape());
        }
      }
    }
    if (!missing.isEmpty()) {
      throw new UserError(where + ": " + count(missing) + " missing: " + some(missing));
    }
    rest.keySet().removeIf(name -> name.endsWith(".rotary_emb.inv_freq"));
    if (config.tied()) {
      rest.remove(OUTPUT);
    }
    if (!rest.isEmpty()) {
      List<String> extra = List.copyOf(rest.keySet());
      throw new UserError(
          where
              + ": "
              + count(extra)
              + " not part of a "
              + config.modelType()
              + " model with this config.json: "
              + some(extra));
    }
  }

  /**
   * The tensors of a checkpoint that make up a parameter: one, or the matrices of its experts.
   *
   * @param found what the checkpoint holds, by name
   */
  public static List<ExpertWeights.Piece> pieces(
      String name, List<Long> shape, Map<String, List<Long>> found) {
    for (String whole : ExpertWeights.whole(name)) {
      if (found.containsKey(whole)) {
        return List.of(new ExpertWeights.Piece(whole, shape, 0));
      }
    }
    return ExpertWeights.pieces(name, shape);
  }

  static void experts(List<WeightSpec> specs, ExpertsConfig c, int layer, long d) {
    long experts = c.experts();
    specs.add(new WeightSpec(c.router(layer), List.of(experts, d), Init.NORMAL));
    specs.add(
        new WeightSpec(c.first(layer), List.of(experts, (long) c.width(), d), Init.NORMAL));
    specs.add(new WeightSpec(c.second(layer), List.of(experts, d, (long) c.ffn()), Init.NORMAL));
    long shared = c.shared();
    if (shared > 0) {
      specs.add(new WeightSpec(c.sharedGate(layer), List.of(1L, d), Init.NORMAL));
      specs.add(
          new WeightSpec(c.sharedFirst(layer), List.of(1L, (long) c.sharedWidth(), d), Init.NORMAL));
      specs.add(new WeightSpec(c.sharedSecond(layer), List.of(1L, d, shared), Init.NORMAL));
    }
  }

  private static String count(List<String> names) {
    return names.size() == 1 ? "1 tensor is" : names.size() + " tensors are";
  }

  private static String some(List<String> names) {
    String first = String.join(", ", names.subList(0, Math.min(NAMED_IN_ERROR, names.size())));
    return names.size() > NAMED_IN_ERROR ? first + ", ..." : first;
  }

  private static void norm(List<WeightSpec> specs, int layer, String part, long width) {
    specs.add(new WeightSpec(weight(layer, part), List.of(width), Init.ONES));
  }

  private static void linear(
      List<WeightSpec> specs, int layer, String part, long out, long in, boolean bias) {
    specs.add(new WeightSpec(weight(layer, part), List.of(out, in), Init.NORMAL));
    if (bias) {
      specs.add(new WeightSpec(bias(layer, part), List.of(out), Init.ZEROS));
    }
  }
}
