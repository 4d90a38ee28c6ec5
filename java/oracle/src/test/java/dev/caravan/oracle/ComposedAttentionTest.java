package dev.caravan.oracle;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.oracle.ComposedAttention.Documents;
import dev.caravan.oracle.ComposedAttention.Options;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

/** The composed attention is itself compared, where PyTorch has the same thing ready-made. */
class ComposedAttentionTest {

  @Test
  void agreesWithPyTorchsOwn() {
    Torch.seed(4);
    Tensor q = Torch.randn(Torch.F64, 30, 6, 16);
    Tensor k = Torch.randn(Torch.F64, 30, 2, 16);
    Tensor v = Torch.randn(Torch.F64, 30, 2, 8);
    Tensor none = Torch.zeros(Torch.F64, 1, 6);
    for (boolean causal : new boolean[] {true, false}) {
      Options options = causal ? Options.CAUSAL : Options.FULL;
      ComposedAttention composed = new ComposedAttention(Documents.of(19, 11), options, 16);
      Tensor out = composed.out(q, k, v, none, none.reshape(6));
      for (int[] document : new int[][] {{0, 19}, {19, 11}}) {
        Tensor expected =
            torch.scaled_dot_product_attention(
                heads(q, document, 1),
                heads(k, document, 3),
                heads(v, document, 3),
                new TensorOptional(),
                0.0,
                causal,
                new DoubleOptional(0.25),
                false);
        Tensor got = out.narrow(0, document[0], document[1]).transpose(0, 1).unsqueeze(0);
        assertTrue(torch.allclose(got, expected, 1e-7, 1e-7, false));
      }
    }
  }

  /** [T, H, N] to [1, H * copies, tokens, N]. */
  private static Tensor heads(Tensor x, int[] document, long copies) {
    return x.narrow(0, document[0], document[1])
        .transpose(0, 1)
        .repeat_interleave(copies, new LongOptional(0), new LongOptional())
        .unsqueeze(0);
  }
}
