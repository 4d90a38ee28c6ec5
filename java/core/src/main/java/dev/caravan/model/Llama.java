package dev.caravan.model;

import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import dev.caravan.tensor.Tensor;

/**
 * The LLaMA family: LLaMA 1 to 3, Mistral, Qwen2, Qwen3, and the same blocks with sparse experts in place
 * of the feed-forward layer: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE. Pre-norm blocks of grouped-query attention with
 * rotary positions and a SwiGLU feed-forward layer. Sources: Touvron et al. 2023, arXiv 2302.13971,
 * section 2.2; grouped queries: Ainslie et al. 2023, arXiv 2305.13245; per-head norms of q and k:
 * Qwen3 technical report, arXiv 2505.09388; experts: Jiang et al. 2024, arXiv 2401.04088, and
 * Muennighoff et al. 2024, arXiv 2409.02060; a shared one: Dai et al. 2024, arXiv 2401.06066.
 *
 * <p>Names carry their shapes: T tokens, D model width, H query heads, K key/value heads, N head width,
 * F feed-forward width.
 */
public record Llama(
    LlamaConfig config, Layers nn, Rotary rope, Attend attention, SparseExperts experts)
    implements Decoder {
  /** A dense model. */
  public Llama(LlamaConfig config, Layers nn, Rotary rope, Attend attention) {
    this(config, nn, rope, attention, null);
  }

  @Override
  public Tensor hidden(Tensor ids_T) {
    Tensor[] x_TD = {nn.embedding(ids_T, embedding())};
    for (int i = 0; i < config.layers(); i++) {
      int layer = i;
      nn.graph().in("layers." + i, i, () -> x_TD[0] = block(x_TD[0], layer));
    }
    return nn.rmsNorm(
        x_TD[0], nn.parameter(LlamaWeights.FINAL_NORM, config.dModel()), config.eps());
  }

  /** The embedding itself where the two are tied. */
  @Override
  public Tensor output() {
    return config.tied()
        ? embedding()
        : nn.parameter(LlamaWeights.OUTPUT, config.vocab(), config.dModel());
  }

  private Tensor embedding() {
    return nn.parameter(LlamaWeights.EMBEDDING, config.vocab(), config.dModel());
  }

  private Tensor block(Tensor x_TD, int layer) {
    Weights w = new Weights(layer);
    Tensor h_TD = nn.rmsNorm(x_TD, w.norm(LlamaWeights.ATTENTION_NORM, config.dModel()), config.eps());
    Tensor q_TX = w.linear(h_TD, LlamaWeights.Q, config.qDim());
    Tensor k_TX = w.linear(h_TD, LlamaWeights.K, config.kvDim());
    if (config.wideQkNorm()) {
      q_TX = nn.rmsNorm(q_TX, w.norm(LlamaWeights.Q_NORM, config.qDim()), config.eps());
      k_TX = nn.rmsNorm(k_TX, w.norm(LlamaWeights.K_NORM, config.kvDim()), config.eps());
    }
    Tensor q_THN = nn.heads(q_TX, config.heads());
    Tensor k_TKN = nn.heads(k_TX, config.kvHeads());
    Tensor v_TKN = nn.heads(w.linear(h_TD, LlamaWeights.V, config.kvDim()), config.kvHeads());
    if (config.qkNorm() && !config.wideQkNorm()) {
      q_THN = nn.rmsNorm(q_THN, w.norm(LlamaWeights.Q_NORM, config.headDim()), config.eps());
      k_TKN = nn.rmsNorm(k_TKN, w.norm(LlamaWeights.K_NORM, config.headDim()), config.eps());
    }
    Tensor a_THN =
        attention.attend(
            layer, rope.apply(q_THN), rope.apply(k_TKN), v_TKN, config.slidingWindow(layer));
    x_TD = nn.add(x_TD, w.linear(nn.merge(a_THN), LlamaWeights.O, config.dModel()));

    Tensor g_TD = nn.rmsNorm(x_TD, w.norm(LlamaWeights.FFN_NORM, config.dModel()), config.eps());
    if (config.sparse(layer)) {
      ExpertsConfig sparse = config.experts().orElseThrow();
      return nn.add(
          x_TD, new SparseLayer(sparse, config.dModel(), nn, experts).output(g_TD, layer));
    }
    Tensor gate_TF = w.linear(g_TD, LlamaWeights.GATE, config.ffn());
    Tensor up_TF = w.linear(g_TD, LlamaWeights.UP, config.ffn());
    return nn.add(x_TD, w.linear(nn.swiglu(gate_TF, up_TF), LlamaWeights.DOWN, config.dModel()));
  }

  /** The weights of one block under their checkpoint names. */
  private final class Weights {
    private final int layer;

    Weights(int layer) {
      this.layer = layer;
    }

    Tensor norm(String part, long width) {
      return nn.parameter(LlamaWeights.weight(layer, part), width);
    }

    Tensor linear(Tensor x, String part, long out) {
      Tensor weight = nn.parameter(LlamaWeights.weight(layer, part), out, x.dim(1));
      boolean biased =
          switch (part) {
            case LlamaWeights.Q, LlamaWeights.K, LlamaWeights.V -> config.qkvBias();
            case LlamaWeights.O -> config.oBias();
            default -> config.mlpBias();
          };
      return nn.linear(
          x, weight, biased ? nn.parameter(LlamaWeights.bias(layer, part), out) : null);
    }
  }
}
