package dev.caravan.oracle;

import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.oracle.ComposedAttention.Documents;
import dev.caravan.oracle.ComposedAttention.Options;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * A LLaMA-family model from PyTorch's operations, on one packed buffer.
 *
 * @param config the model
 * @param documents what the buffer holds
 * @param ids of all rows
 * @param angles rotary angles of all rows, float64 [T, N/2]
 * @param targetRows rows that predict
 * @param targetIds what they predict
 */
record ComposedLlama(
    LlamaConfig config,
    Documents documents,
    Tensor ids,
    Tensor angles,
    Tensor targetRows,
    Tensor targetIds) {

  /** Negative log-likelihood of each target, [n]. */
  Tensor nll(Map<String, Tensor> weights) {
    Tensor x = weights.get(LlamaWeights.EMBEDDING).index_select(0, ids);
    for (int layer = 0; layer < config.layers(); layer++) {
      x = block(x, layer, weights);
    }
    Tensor hidden = norm(x, weights.get(LlamaWeights.FINAL_NORM)).index_select(0, targetRows);
    String head = config.tied() ? LlamaWeights.EMBEDDING : LlamaWeights.OUTPUT;
    Tensor logits = torch.linear(hidden, weights.get(head));
    return logits.log_softmax(1).gather(1, targetIds.unsqueeze(1)).neg().squeeze(1);
  }

  private Tensor block(Tensor x, int layer, Map<String, Tensor> weights) {
    Block w = new Block(layer, weights);
    Tensor h = norm(x, w.gain(LlamaWeights.ATTENTION_NORM));
    Tensor q = w.linear(h, LlamaWeights.Q).view(x.size(0), config.heads(), config.headDim());
    Tensor k = w.linear(h, LlamaWeights.K).view(x.size(0), config.kvHeads(), config.headDim());
    Tensor v = w.linear(h, LlamaWeights.V).view(x.size(0), config.kvHeads(), config.headDim());
    if (config.qkNorm()) {
      q = norm(q, w.gain(LlamaWeights.Q_NORM));
      k = norm(k, w.gain(LlamaWeights.K_NORM));
    }
    int window = config.slidingWindow(layer);
    Options options = window == 0 ? Options.CAUSAL : Options.CAUSAL.window(window - 1, -1);
    Tensor noBias = torch.zeros_like(q.select(2, 0)).narrow(0, 0, 1);
    Tensor a =
        new ComposedAttention(documents, options, config.headDim())
            .out(rotate(q), rotate(k), v, noBias, noBias.select(0, 0));
    x = x.add(w.linear(a.reshape(x.size(0), config.qDim()), LlamaWeights.O));
    Tensor g = norm(x, w.gain(LlamaWeights.FFN_NORM));
    Tensor gated = torch.silu(w.linear(g, LlamaWeights.GATE)).mul(w.linear(g, LlamaWeights.UP));
    return x.add(w.linear(gated, LlamaWeights.DOWN));
  }

  private Tensor norm(Tensor x, Tensor gain) {
    Tensor mean = x.square().mean(new long[] {-1}, true, new ScalarTypeOptional());
    return x.mul(mean.add(new Scalar(config.eps())).rsqrt()).mul(gain);
  }

  /** Rotates [T, H, N] by halves. */
  private Tensor rotate(Tensor x) {
    Tensor cos = angles.cos().to(Torch.type(x)).unsqueeze(1);
    Tensor sin = angles.sin().to(Torch.type(x)).unsqueeze(1);
    long half = x.size(2) / 2;
    Tensor a = x.narrow(2, 0, half);
    Tensor b = x.narrow(2, half, half);
    Tensor first = a.mul(cos).sub(b.mul(sin));
    Tensor second = b.mul(cos).add(a.mul(sin));
    return torch.cat(new TensorVector(first, second), 2);
  }

  /** The weights of one block. */
  private record Block(int layer, Map<String, Tensor> weights) {
    Tensor gain(String part) {
      return weights.get(LlamaWeights.weight(layer, part));
    }

    Tensor linear(Tensor x, String part) {
      Tensor bias = weights.get(LlamaWeights.bias(layer, part));
      Tensor weight = weights.get(LlamaWeights.weight(layer, part));
      return bias == null
          ? torch.linear(x, weight)
          : torch.linear(x, weight, new TensorOptional(bias));
    }
  }

  /** The rotary angles of positions under inverse frequencies. */
  static Tensor angles(int[] positions, float[] inverseFrequencies) {
    Tensor frequencies = torch.empty(inverseFrequencies.length);
    new FloatPointer(frequencies.data_ptr()).put(inverseFrequencies);
    Tensor at = Torch.index(positions).to(Torch.F64);
    return at.unsqueeze(1).mul(frequencies.to(Torch.F64).unsqueeze(0));
  }

  /** Lengths to documents with as many keys as queries. */
  static Documents packed(List<Integer> lengths) {
    return new Documents(lengths, lengths);
  }
}
