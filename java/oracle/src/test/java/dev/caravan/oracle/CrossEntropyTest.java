package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.CrossEntropy;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.TensorRef;
import java.util.Arrays;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** cross_entropy on a chunk of rows against PyTorch's log-softmax. */
class CrossEntropyTest {
  private static final float INV_TARGETS = 1f / 37;

  @ParameterizedTest
  @CsvSource({
    "Float,1,1,1,1,0,1",
    "Float,3,17,3,3,0,3",
    "Float,17,1000,40,40,8,1",
    "Float,8,65,20,11,8,2",
    "Float,8,65,20,5,8,2",
    "Float,4,32003,4,4,0,5",
    "Float,5,33,5,5,0,10000",
    "BFloat16,3,17,3,3,0,3",
    "BFloat16,17,1000,40,30,16,1",
    "BFloat16,2,32003,2,2,0,5"
  })
  void lossAndGradient(
      ScalarType type, int chunk, int vocab, int n, int count, int first, double spread) {
    Torch.seed(vocab + chunk);
    int used = Math.max(0, Math.min(chunk, count - first));
    int[] targets = new Random(vocab).ints(n, 0, vocab).toArray();
    Tensor logits = Torch.randn(type, chunk, vocab).mul(Torch.number(spread));
    Tensor picked = Torch.index(Arrays.copyOfRange(targets, first, first + used)).unsqueeze(1);
    // The sum over rows in use, so that its gradient is what the op leaves in the logits.
    Torch.Expression nll =
        in -> in[0].narrow(0, 0, used).log_softmax(1).gather(1, picked).neg().squeeze(1);
    Tensor weight = Torch.full(Torch.F32, INV_TARGETS, used);
    Torch.Traced exact = Torch.trace(Torch.F64, nll, weight, logits);
    Torch.Traced plain = Torch.trace(type, nll, weight, logits);
    Torch.Traced plainNll = Torch.trace(Torch.F32, nll, weight, logits);

    StepState state = Ops.stepState();
    state.begin(Ops.STREAM, 1, 0, 0, INV_TARGETS, 0);
    double lossSum = 0;
    for (boolean gradient : new boolean[] {false, true}) {
      Tensor inOut = Torch.guardedCopy(logits);
      Tensor losses = Torch.poisoned(Torch.F32, n);
      TensorRef limit = ref(Torch.ints(count));
      Ops.run(
          CrossEntropy.forward(
              ref(inOut),
              ref(Torch.ints(targets)),
              limit,
              ref(losses),
              state.ref(),
              first,
              gradient));

      Closeness.SOFTMAX.check(
          "nll", losses.narrow(0, first, used), exact.value(), plainNll.value());
      lossSum += exact.value().sum().item_double();
      double got = state.result(Ops.STREAM).lossSum();
      assertEquals(lossSum, got, 1e-6 * Math.abs(lossSum), "loss_sum goes on adding");
      assertTrue(losses.narrow(0, 0, first).isnan().all().item_bool(), "nll of other chunks");
      if (gradient) {
        Closeness.SOFTMAX.check("gradient", inOut, exact.gradient(0), plain.gradient(0));
      } else {
        Closeness.same("logits", inOut, logits);
      }
      assertTrue(Torch.guarded(inOut) && Torch.guarded(losses));
    }
  }
}
