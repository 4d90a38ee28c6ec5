package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Adafactor;
import dev.caravan.kernels.Adamw;
import dev.caravan.kernels.GlobalNorm;
import dev.caravan.kernels.StepState;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** global_norm, adamw and adafactor against their formulas in PyTorch, over several steps. */
class OptimizerTest {
  private static final float LR = 1e-2f;
  private static final float DECAY = 0.1f;
  private static final float BETA1 = 0.9f;
  private static final float BETA2 = 0.95f;
  private static final float EPS = 1e-8f;

  @ParameterizedTest
  @CsvSource({"Float,1,0", "Float,17,1", "Float,300007,1", "Float,5,1e6", "BFloat16,300007,2"})
  void globalNorm(ScalarType type, long count, float clip) {
    Torch.seed(count);
    Tensor gradients = Torch.randn(type, count);
    StepState.Result result = begin(Ops.stepState(), 1, gradients, clip);
    double expected = gradients.to(Torch.F64).square().sum().sqrt().item_double();
    assertEquals(expected, result.gradNorm(), 2e-7 * expected);
    double factor = clip == 0 ? 1 : Math.min(1, clip / (expected + 1e-6));
    assertEquals(factor, result.clipFactor(), 4e-7 * factor);
    assertTrue(result.finite());
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY})
  void globalNormSeesNonFinite(double bad) {
    for (int at : new int[] {0, 500, 1000}) {
      Tensor gradients = Torch.randn(Torch.F32, 1001);
      gradients.narrow(0, at, 1).fill_(number(bad));
      assertFalse(begin(Ops.stepState(), 1, gradients, 1).finite());
    }
  }

  @Test
  void globalNormDoesNotOverflow() {
    Tensor gradients = Torch.full(Torch.F32, 1e30, 9);
    StepState.Result result = begin(Ops.stepState(), 1, gradients, 1);
    assertEquals(3e30, result.gradNorm(), 1e24);
    assertTrue(result.finite());
  }

  /** Begins a step and takes the norm of its gradients. */
  private static StepState.Result begin(StepState state, int step, Tensor gradients, float clip) {
    state.begin(Ops.STREAM, step, 99, LR, 1, clip);
    Ops.run(GlobalNorm.forward(ref(gradients.view(-1)), state.ref()));
    return state.result(Ops.STREAM);
  }

  private static Scalar number(double value) {
    return new Scalar(value);
  }

  /** AdamW's parameter and moments at one precision. */
  private static final class AdamwFormula {
    Tensor p;
    Tensor m;
    Tensor v;

    AdamwFormula(Tensor p) {
      this.p = p.clone();
      this.m = torch.zeros_like(p);
      this.v = torch.zeros_like(p);
    }

    /** As torch.optim.AdamW; decay is 0 or 1 for each element. */
    void step(int t, Tensor gradient, double clipFactor, Tensor decay) {
      Tensor g = gradient.to(Torch.type(p)).mul(number(clipFactor));
      m = m.mul(number(BETA1)).add(g.mul(number(1 - (double) BETA1)));
      v = v.mul(number(BETA2)).add(g.square().mul(number(1 - (double) BETA2)));
      Tensor mean = m.div(number(1 - Math.pow(BETA1, t)));
      Tensor root = v.div(number(1 - Math.pow(BETA2, t))).sqrt().add(number(EPS));
      Tensor decayed = p.mul(decay.to(Torch.type(p))).mul(number((double) LR * DECAY));
      p = p.sub(decayed).sub(mean.div(root).mul(number(LR)));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 17, 70001})
  void adamw(int count) {
    Torch.seed(count);
    Tensor param = Torch.randn(Torch.F32, count);
    AdamwFormula exact = new AdamwFormula(param.to(Torch.F64));
    AdamwFormula plain = new AdamwFormula(param);
    Tensor p = Torch.guardedCopy(param);
    Tensor m = Torch.zeros(Torch.F32, count);
    Tensor v = Torch.zeros(Torch.F32, count);
    // The same master in two parts: a bf16 parameter and the remainder of its bits.
    Split split = Split.of(param);
    Tensor splitM = Torch.zeros(Torch.F32, count);
    Tensor splitV = Torch.zeros(Torch.F32, count);
    // Weight decay on the first half only.
    int decayed = count / 2;
    Tensor decay = Torch.zeros(Torch.F32, count);
    decay.narrow(0, 0, decayed).fill_(number(1));
    Tensor segments =
        segments(
            List.of(
                new Adamw.Segment(0, decayed, 1), new Adamw.Segment(decayed, count - decayed, 0)));
    StepState state = Ops.stepState();
    for (int t = 1; t <= 5; t++) {
      Tensor gradient = Torch.randn(Torch.F32, count);
      double clipFactor = begin(state, t, gradient, 0.5f).clipFactor();
      exact.step(t, gradient, clipFactor, decay);
      plain.step(t, gradient, clipFactor, decay);
      step(state, p, null, gradient, m, v, segments);
      step(state, split.param, split.remainder, gradient, splitM, splitV, segments);
    }
    Closeness.OPTIMIZER.check("param", p, exact.p, plain.p);
    Closeness.OPTIMIZER.check("m", m, exact.m, plain.m);
    Closeness.OPTIMIZER.check("v", v, exact.v, plain.v);
    assertTrue(Torch.guarded(p));
    Closeness.same("the split master", split.master(), p);
    Closeness.same("the bf16 half is the master rounded", split.param, p.to(Torch.BF16));

    Tensor before = p.clone();
    Tensor gradient = Torch.full(Torch.F32, Double.NaN, count);
    begin(state, 6, gradient, 0.5f);
    step(state, p, null, gradient, m, v, segments);
    Closeness.same("param when the norm is not finite", p, before);
  }

  private static void step(
      StepState state,
      Tensor p,
      Tensor remainder,
      Tensor gradient,
      Tensor m,
      Tensor v,
      Tensor segments) {
    Ops.run(
        Adamw.step(
            ref(p),
            ref(remainder),
            ref(gradient),
            ref(m),
            ref(v),
            ref(segments),
            state.ref(),
            BETA1,
            BETA2,
            EPS,
            DECAY));
  }

  private static Tensor segments(List<Adamw.Segment> segments) {
    int bytes = (int) Adamw.segmentBytes(segments.size());
    ByteBuffer table = ByteBuffer.allocate(bytes).order(ByteOrder.nativeOrder());
    Adamw.putSegments(table, segments);
    Tensor memory = Ops.bytes(bytes, 0);
    new BytePointer(memory.data_ptr()).put(table.array());
    return memory;
  }

  /** A float32 master in two parts, as caravan.h has it. */
  private record Split(Tensor param, Tensor remainder) {
    static Split of(Tensor master) {
      Tensor param = master.to(Torch.BF16);
      Tensor bits = master.view(ScalarType.Int);
      Tensor upper = param.to(Torch.F32).view(ScalarType.Int);
      return new Split(param, bits.sub(upper).to(ScalarType.Short).view(ScalarType.UInt16));
    }

    Tensor master() {
      Tensor upper = param.to(Torch.F32).view(ScalarType.Int);
      Tensor lower = remainder.view(ScalarType.Short).to(ScalarType.Int);
      return upper.add(lower).view(Torch.F32);
    }
  }

  /** Adafactor's parameter and moments at one precision. */
  private static final class AdafactorFormula {
    final boolean factored;
    final Adafactor.Options options;
    Tensor p;
    Tensor row;
    Tensor col;
    Tensor v;
    Tensor m;

    AdafactorFormula(Tensor p, boolean factored, Adafactor.Options options) {
      this.factored = factored;
      this.options = options;
      this.p = p.clone();
      this.v = torch.zeros_like(p);
      this.m = torch.zeros_like(p);
      if (factored) {
        this.row = torch.zeros_like(p.select(1, 0));
        this.col = torch.zeros_like(p.select(0, 0));
      }
    }

    /** As transformers.optimization.Adafactor with relative_step off. */
    void step(int t, Tensor gradient, double clipFactor) {
      Tensor g = gradient.to(Torch.type(p)).mul(number(clipFactor));
      double beta2 = 1 - Math.pow(t, -options.decayRate());
      double lr = LR * (options.scaleParameter() ? Math.max(options.eps2(), rms(p)) : 1);
      Tensor square = g.square().add(number(options.eps1()));
      Tensor u;
      if (factored) {
        row = row.mul(number(beta2)).add(square.mean(1L).mul(number(1 - beta2)));
        col = col.mul(number(beta2)).add(square.mean(0L).mul(number(1 - beta2)));
        Tensor r = row.div(row.mean()).rsqrt().unsqueeze(1);
        u = g.mul(r).mul(col.rsqrt().unsqueeze(0));
      } else {
        v = v.mul(number(beta2)).add(square.mul(number(1 - beta2)));
        u = g.mul(v.rsqrt());
      }
      u = u.mul(number(lr / Math.max(1, rms(u) / options.clipThreshold())));
      if (options.beta1() > 0) {
        m = m.mul(number(options.beta1())).add(u.mul(number(1 - (double) options.beta1())));
        u = m;
      }
      double decay = options.weightDecay() * lr;
      p = p.sub(p.mul(number(decay))).sub(u);
    }

    private static double rms(Tensor x) {
      return Math.sqrt(x.to(Torch.F64).square().mean().item_double());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "1,1,true,0,false", "3,17,true,0,false", "65,130,true,0,false", "300,257,true,0.9,true",
    "5,33,false,0,false", "5,33,false,0.9,true", "0,1,false,0,false", "0,1000,false,0.9,true"
  })
  void adafactor(int rows, int columns, boolean factored, float beta1, boolean scaled) {
    Torch.seed(columns);
    long[] shape = rows == 0 ? new long[] {columns} : new long[] {rows, columns};
    Tensor param = Torch.randn(Torch.F32, shape);
    Adafactor.Options options = new Adafactor.Options(beta1, 0.8f, 1e-30f, 1e-3f, 1, DECAY, scaled);
    AdafactorFormula exact = new AdafactorFormula(param.to(Torch.F64), factored, options);
    AdafactorFormula plain = new AdafactorFormula(param, factored, options);
    Tensor p = Torch.guardedCopy(param);
    AdafactorFormula moments = new AdafactorFormula(param, factored, options); // the op's buffers
    StepState state = Ops.stepState();
    for (int t = 1; t <= 5; t++) {
      Tensor gradient = torch.randn_like(param);
      double clipFactor = begin(state, t, gradient, 0.5f).clipFactor();
      exact.step(t, gradient, clipFactor);
      plain.step(t, gradient, clipFactor);
      Ops.run(
          Adafactor.step(
              ref(p),
              null,
              ref(gradient),
              ref(moments.row),
              ref(moments.col),
              factored ? null : ref(moments.v),
              beta1 > 0 ? ref(moments.m) : null,
              state.ref(),
              options));
    }
    Closeness.OPTIMIZER.check("param", p, exact.p, plain.p);
    assertTrue(Torch.guarded(p));
  }
}
