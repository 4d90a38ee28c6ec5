package dev.caravan.model;

import dev.caravan.graph.Division;
import dev.caravan.model.WeightSpec.Init;
import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.SparseExperts;
import dev.caravan.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * GLaM: pre-norm blocks of attention with learned relative positions, no scale on its scores, no bias
 * anywhere; every other feed-forward layer (or those of a list) is sparse, of experts with one ungated
 * hidden layer, the others are gated. A shared expert beside them is no part of the paper. The embedding
 * is the output projection. Sources: Du et al. 2021, arXiv 2112.06905, section 4; relative positions by
 * buckets: Raffel et al. 2020, arXiv 1910.10683, section 2.1; ungated
 * experts are what the paper's parameter counts give (GlamSizesTest).
 *
 * <p>Names carry their shapes: T tokens, D model width, H heads, N head width, F feed-forward width.
 */
public record Glam(GlamConfig config, Layers nn, Attend attention, SparseExperts experts)
    implements Decoder {
  /** Table of relative positions of a layer, [buckets, heads]. */
  static final String POSITIONS = "self_attn.relative_attention_bias";

  @Override
  public Tensor hidden(Tensor ids_T) {
    Tensor[] x_TD = {nn.embedding(ids_T, output())};
    for (int i = 0; i < config.layers(); i++) {
      int layer = i;
      nn.graph().in("layers." + i, i, () -> x_TD[0] = block(x_TD[0], layer));
    }
    return nn.rmsNorm(x_TD[0], nn.parameter(LlamaWeights.FINAL_NORM, config.dModel()), config.eps());
  }

  @Override
  public Tensor output() {
    return nn.parameter(LlamaWeights.EMBEDDING, config.vocab(), config.dModel());
  }

  private Tensor block(Tensor x_TD, int layer) {
    Tensor h_TD = norm(x_TD, layer, LlamaWeights.ATTENTION_NORM);
    Tensor q_THN = nn.heads(linear(h_TD, layer, LlamaWeights.Q, config.qDim()), config.heads());
    Tensor k_THN = nn.heads(linear(h_TD, layer, LlamaWeights.K, config.qDim()), config.heads());
    Tensor v_THN = nn.heads(linear(h_TD, layer, LlamaWeights.V, config.qDim()), config.heads());
    Tensor positions =
        nn.parameter(LlamaWeights.weight(layer, POSITIONS), config.buckets(), config.heads());
    Tensor a_THN =
        attention.attend(layer, q_THN, k_THN, v_THN, positions, config.maxDistance());
    x_TD = nn.add(x_TD, linear(nn.merge(a_THN), layer, LlamaWeights.O, config.dModel()));

    Tensor g_TD = norm(x_TD, layer, LlamaWeights.FFN_NORM);
    return nn.add(x_TD, config.sparse(layer) ? sparse(g_TD, layer) : dense(g_TD, layer));
  }

  private Tensor dense(Tensor x_TD, int layer) {
    Tensor gate_TF = linear(x_TD, layer, LlamaWeights.GATE, config.ffn());
    Tensor up_TF = linear(x_TD, layer, LlamaWeights.UP, config.ffn());
    Tensor f_TF = nn.gated(config.activation(), gate_TF, up_TF);
    return linear(f_TF, layer, LlamaWeights.DOWN, config.dModel());
  }

  private Tensor sparse(Tensor x_TD, int layer) {
    ExpertsConfig sparse = config.experts().orElseThrow();
    return new SparseLayer(sparse, config.dModel(), nn, experts).output(x_TD, layer);
  }

  private Tensor norm(Tensor x_TD, int layer, String part) {
    Tensor gain = nn.parameter(LlamaWeights.weight(layer, part), config.dModel());
    return nn.rmsNorm(x_TD, gain, config.eps());
  }

  private Tensor linear(Tensor x, int layer, String part, long out) {
    return nn.linear(x, nn.parameter(LlamaWeights.weight(layer, part), out, x.dim(1)));
  }

  /**
   * How tensor-parallel ranks divide the model: as one of the LLaMA family, and of the tables of relative
   * positions each rank has those of its heads.
   *
   * @throws IllegalArgumentException if the heads, or a width, are no multiple of the ranks
   */
  static Division division(GlamConfig c, int ranks) {
    LlamaWeights.divides("heads", c.heads(), ranks);
    return LlamaWeights.division(c, c.ffn(), ranks);
  }

  /** Every parameter, in the order in which the model uses them. */
  static List<WeightSpec> specs(GlamConfig c) {
    List<WeightSpec> specs = new ArrayList<>();
    long d = c.dModel();
    long q = c.qDim();
    long f = c.ffn();
    specs.add(new WeightSpec(LlamaWeights.EMBEDDING, List.of((long) c.vocab(), d), Init.NORMAL));
    for (int layer = 0; layer < c.layers(); layer++) {
      add(specs, layer, LlamaWeights.ATTENTION_NORM, d);
      add(specs, layer, LlamaWeights.Q, q, d);
      add(specs, layer, LlamaWeights.K, q, d);
      add(specs, layer, LlamaWeights.V, q, d);
      add(specs, layer, POSITIONS, c.buckets(), c.heads());
      add(specs, layer, LlamaWeights.O, d, q);
      add(specs, layer, LlamaWeights.FFN_NORM, d);
      if (c.sparse(layer)) {
        LlamaWeights.experts(specs, c.experts().orElseThrow(), layer, d);
      } else {
        add(specs, layer, LlamaWeights.GATE, f, d);
        add(specs, layer, LlamaWeights.UP, f, d);
        add(specs, layer, LlamaWeights.DOWN, d, f);
      }
    }
    specs.add(new WeightSpec(LlamaWeights.FINAL_NORM, List.of(d), Init.ONES));
    return specs;
  }

  private static void add(List<WeightSpec> specs, int layer, String part, long... shape) {
    List<Long> extents = java.util.Arrays.stream(shape).boxed().toList();
    Init init = extents.size() == 1 ? Init.ONES : Init.NORMAL;
    specs.add(new WeightSpec(LlamaWeights.weight(layer, part), extents, init));
  }
}
