package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.kernels.Attention;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.RmsNorm;
import dev.caravan.kernels.Swiglu;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The kernels inside another trainer: a transformer block whose tensors and products are PyTorch's, and
 * whose norm, attention and gated unit are Caravan's, by the tensors' data pointers. Views of fused
 * products go in as they are, results land in PyTorch's tensors, and nothing is copied.
 */
class DropInTest {
  private static final float EPS = 1e-6f;
  private static final int[] DOCUMENTS = {0, 13, 37};
  private static final int TOKENS = 37;
  private static final int HEADS = 4;
  private static final int KV_HEADS = 2;
  private static final int HEAD = 16;
  private static final int WIDTH = HEADS * HEAD;
  private static final int FEED_FORWARD = 136;

  /** The block's weights, each once. */
  private record Weights(Tensor norm, Tensor qkv, Tensor gateUp, Tensor down) {
    static Weights random(ScalarType type) {
      return new Weights(
          Torch.randn(type, WIDTH),
          scaled(type, WIDTH, (HEADS + 2 * KV_HEADS) * HEAD),
          scaled(type, WIDTH, 2 * FEED_FORWARD),
          scaled(type, FEED_FORWARD, WIDTH));
    }

    private static Tensor scaled(ScalarType type, long in, long out) {
      return torch
          .randn(new long[] {in, out}, new org.bytedeco.pytorch.TensorOptions(Torch.F64))
          .div(Torch.number(Math.sqrt(in)))
          .to(type);
    }

    Weights to(ScalarType type) {
      return new Weights(norm.to(type), qkv.to(type), gateUp.to(type), down.to(type));
    }
  }

  @ParameterizedTest
  @EnumSource(value = ScalarType.class, names = {"Float", "BFloat16"})
  void aBlockOfPyTorchsRunsOnCaravansKernels(ScalarType type) {
    Torch.seed(7);
    Tensor x = Torch.randn(type, TOKENS, WIDTH);
    Weights weights = Weights.random(type);
    Tensor exact = composed(x.to(Torch.F64), weights.to(Torch.F64));
    Tensor plain = composed(x, weights);
    Closeness.MODEL.check("block", withCaravan(x, weights), exact, plain);
  }

  /** As a trainer would call it; {@code ref} reads address, shape and strides, and no more. */
  private static Tensor withCaravan(Tensor x, Weights weights) {
    ScalarType type = Torch.type(x);
    Tensor normed = Torch.poisoned(type, TOKENS, WIDTH);
    Tensor attended = Torch.poisoned(type, TOKENS, HEADS, HEAD);
    Tensor gated = Torch.poisoned(type, TOKENS, FEED_FORWARD);
    Tensor cu = Torch.ints(DOCUMENTS);

    long copied = Memory.stats().allocations();
    long normedAt = normed.data_ptr().address();
    long attendedAt = attended.data_ptr().address();
    Ops.run(RmsNorm.forward(ref(x), null, ref(weights.norm), ref(normed), null, null, EPS, 0));

    Tensor qkv = torch.matmul(normed, weights.qkv).view(TOKENS, HEADS + 2 * KV_HEADS, HEAD);
    Ops.run(
        Attention.forward(
            ref(qkv.narrow(1, 0, HEADS)),
            ref(qkv.narrow(1, HEADS, KV_HEADS)),
            ref(qkv.narrow(1, HEADS + KV_HEADS, KV_HEADS)),
            ref(attended),
            null,
            ref(cu),
            ref(cu),
            null,
            null,
            Attention.Options.causal((float) (1 / Math.sqrt(HEAD)))));

    Tensor h = x.add(attended.view(TOKENS, WIDTH));
    Tensor both = torch.matmul(h, weights.gateUp);
    Ops.run(
        Swiglu.forward(
            ref(both.narrow(1, 0, FEED_FORWARD)),
            ref(both.narrow(1, FEED_FORWARD, FEED_FORWARD)),
            ref(gated)));
    assertEquals(copied, Memory.stats().allocations(), "the kernels hold memory of their own");
    assertEquals(normedAt, normed.data_ptr().address());
    assertEquals(attendedAt, attended.data_ptr().address());
    return h.add(torch.matmul(gated, weights.down));
  }

  /** The same by PyTorch alone: composed norm and unit, its own fused attention a document. */
  private static Tensor composed(Tensor x, Weights weights) {
    Tensor rstd = x.square().mean(new long[] {-1}, true, null).add(Torch.number(EPS)).rsqrt();
    Tensor normed = x.mul(rstd).mul(weights.norm);
    Tensor qkv = torch.matmul(normed, weights.qkv).view(TOKENS, HEADS + 2 * KV_HEADS, HEAD);
    TensorVector documents = new TensorVector();
    for (int d = 0; d + 1 < DOCUMENTS.length; d++) {
      Tensor rows = qkv.narrow(0, DOCUMENTS[d], DOCUMENTS[d + 1] - DOCUMENTS[d]);
      Tensor heads = rows.transpose(0, 1).unsqueeze(0);
      Tensor out =
          torch.scaled_dot_product_attention(
              heads.narrow(1, 0, HEADS),
              grouped(heads.narrow(1, HEADS, KV_HEADS)),
              grouped(heads.narrow(1, HEADS + KV_HEADS, KV_HEADS)),
              new TensorOptional(),
              0.0,
              true,
              new DoubleOptional(),
              false);
      documents.push_back(out.squeeze(0).transpose(0, 1).reshape(-1, WIDTH));
    }
    Tensor h = x.add(torch.cat(documents, 0));
    Tensor both = torch.matmul(h, weights.gateUp);
    Tensor gate = both.narrow(1, 0, FEED_FORWARD);
    Tensor gated = torch.silu(gate).mul(both.narrow(1, FEED_FORWARD, FEED_FORWARD));
    return h.add(torch.matmul(gated, weights.down));
  }

  /** Every key head as often as query heads read it. */
  private static Tensor grouped(Tensor heads) {
    return torch.repeat_interleave(
        heads, HEADS / KV_HEADS, new org.bytedeco.pytorch.LongOptional(1),
        new org.bytedeco.pytorch.LongOptional());
  }
}
