package dev.caravan.model;

import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.Rotary;
import dev.caravan.tensor.Tensor;

/**
 * The LLaMA family: LLaMA 1 to 3, Mistral, Qwen2, Qwen3. Pre-norm blocks of grouped-query attention with
 * rotary positions and a SwiGLU feed-forward layer. Sources: Touvron et al. 2023, arXiv 2302.13971,
 * section 2.2; grouped queries: Ainslie et al. 2023, arXiv 2305.13245; per-head norms of q and k:
 * Qwen3 technical report, arXiv 2505.09388.
 *
 * <p>Names carry their shapes: T tokens, D model width, H query heads, K key/value heads, N head width,
 * F feed-forward width.
 */
public record Llama(LlamaConfig config, Layers nn, Rotary rope, Attend attention) {
  /** Token ids [T] to what the output projection reads, [T, D]. */
  public Tensor hidden(Tensor ids_T) {
    Tensor[] x_TD = {nn.embedding(ids_T, embedding())};
    for (int i = 0; i < config.layers(); i++) {
      int layer = i;
      nn.graph().in("layers." + i, i, () -> x_TD[0] = block(x_TD[0], layer));
    }
    return nn.rmsNorm(
        x_TD[0], nn.parameter(LlamaWeights.FINAL_NORM, config.dModel()), config.eps());
  }

  /** The output projection [V, D]: the embedding itself where the two are tied. */
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
    Tensor h_TD = nn.rmsNorm(x_TD, w.norm(LlamaWeights.ATTENTION_NORM), config.eps());
    Tensor q_THN = nn.heads(w.linear(h_TD, LlamaWeights.Q, config.qDim()), config.heads());
    Tensor k_TKN = nn.heads(w.linear(h_TD, LlamaWeights.K, config.kvDim()), config.kvHeads());
    Tensor v_TKN = nn.heads(w.linear(h_TD, LlamaWeights.V, config.kvDim()), config.kvHeads());
    if (config.qkNorm()) {
      q_THN = nn.rmsNorm(q_THN, w.norm(LlamaWeights.Q_NORM), config.eps());
      k_TKN = nn.rmsNorm(k_TKN, w.norm(LlamaWeights.K_NORM), config.eps());
    }
    Tensor a_THN =
        attention.attend(
            layer, rope.apply(q_THN), rope.apply(k_TKN), v_TKN, config.slidingWindow(layer));
    x_TD = nn.add(x_TD, w.linear(nn.merge(a_THN), LlamaWeights.O, config.dModel()));

    Tensor g_TD = nn.rmsNorm(x_TD, w.norm(LlamaWeights.FFN_NORM), config.eps());
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

    Tensor norm(String part) {
      boolean perHead = part.equals(LlamaWeights.Q_NORM) || part.equals(LlamaWeights.K_NORM);
      return nn.parameter(
          LlamaWeights.weight(layer, part), perHead ? config.headDim() : config.dModel());
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
