package dev.caravan.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Attention.Options;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What ops say of inputs that do not fit together. */
class ShapeRulesTest {
  private static final Options CAUSAL = Options.causal(1);

  /** An op with inputs that fit, and the types that it makes of them. */
  private record Fitting(Op op, List<TensorType> inputs, TensorType... outputs) {
    @Override
    public String toString() {
      return op + " of " + inputs;
    }
  }

  private static Fitting fit(Op op, List<TensorType> inputs, TensorType... outputs) {
    return new Fitting(op, inputs, outputs);
  }

  private static TensorType f(long... shape) {
    return TensorType.f32(shape);
  }

  private static TensorType i(long... shape) {
    return TensorType.i32(shape);
  }

  static List<Fitting> fitting() {
    TensorType state = TensorType.bytes(256);
    return List.of(
        fit(new Add(), List.of(f(3, 4), f(3, 4)), f(3, 4)),
        fit(new Bias(), List.of(f(3, 4), f(4)), f(3, 4)),
        fit(new Bias.Backward(), List.of(f(3, 4), f(4)), f(4)),
        fit(new Embedding(), List.of(i(5), f(7, 4), i(1)), f(5, 4)),
        fit(new Embedding(new Vocabulary(3, 9)), List.of(i(5), f(3, 4), i(1)), f(5, 4)),
        fit(
            new Embedding.Backward(Vocabulary.WHOLE),
            List.of(i(5), f(5, 4), i(1), f(7, 4)),
            f(7, 4)),
        fit(new Gather(), List.of(f(5, 4), i(3), i(1)), f(3, 4)),
        fit(new CacheAppend(), List.of(f(2, 3, 4), f(9, 3, 4), i(1)), f(9, 3, 4)),
        fit(View.as(6, 2), List.of(f(3, 4)), f(6, 2)),
        fit(MatMul.linear(false, DType.F32), List.of(f(3, 4), f(5, 4)), f(3, 5)),
        fit(MatMul.linear(true, DType.BF16), List.of(f(3, 4), f(5, 4), i(1)), bf16(3, 5)),
        fit(
            new MatMul(true, false, true, true, DType.F32),
            List.of(f(3, 5), f(3, 4), i(1), f(5, 4)),
            f(5, 4)),
        fit(
            new MatMul(false, false, false, true, DType.F32),
            List.of(f(3, 5), f(5, 4), f(3, 4)),
            f(3, 4)),
        fit(new RmsNorm(1e-5f, false), List.of(f(3, 2, 4), f(4)), f(3, 2, 4), f(6)),
        fit(new RmsNorm(1e-5f, true), List.of(f(3, 4), f(4), f(3, 4)), f(3, 4), f(3), f(3, 4)),
        fit(
            new RmsNorm.Backward(true),
            List.of(f(3, 4), f(3, 4), f(4), f(3), f(4), f(3, 4)),
            f(3, 4),
            f(4)),
        fit(new RowDot(), List.of(f(3, 2, 4), f(3, 2, 4)), f(6)),
        fit(new RowDot(), List.of(f(3, 4), f(3, 4), f(4)), f(3)),
        fit(new RmsNormPart(1e-5f, 2), List.of(f(3, 2, 4), f(4), f(6)), f(3, 2, 4), f(6)),
        fit(
            new RmsNormPart.Backward(2, true),
            List.of(f(3, 4), f(3, 4), f(4), f(3), f(4), f(3), f(3, 4)),
            f(3, 4),
            f(4)),
        fit(new Rope(false, false), List.of(f(3, 2, 8), i(3), f(9, 4), f(9, 4)), f(3, 2, 8)),
        fit(new Glu(Glu.Activation.SILU), List.of(f(3, 4), f(3, 4)), f(3, 4)),
        fit(
            new Glu.Backward(Glu.Activation.SILU),
            List.of(f(3, 4), f(3, 4), f(3, 4)),
            f(3, 4),
            f(3, 4)),
        fit(
            new Attention(CAUSAL, true),
            List.of(f(5, 4, 8), f(6, 2, 8), f(6, 2, 7), i(3), i(3), f(9, 4)),
            f(5, 4, 7),
            f(4, 5)),
        fit(
            new Attention(CAUSAL, false, true),
            List.of(f(5, 4, 8), f(6, 2, 8), f(6, 2, 7), i(3), i(3), f(4)),
            f(5, 4, 7),
            f(4, 5)),
        fit(
            new Attention.Backward(CAUSAL, false),
            List.of(
                f(5, 4, 7), f(5, 4, 8), f(6, 2, 8), f(6, 2, 7), i(3), i(3), f(5, 4, 7), f(4, 5)),
            f(5, 4, 8),
            f(6, 2, 8),
            f(6, 2, 7)),
        fit(
            new Router(2, Experts.Scoring.SOFTMAX, true, 0, 0, 0),
            List.of(f(5, 4), i(1)),
            f(5, 2),
            i(5, 2),
            i(5),
            i(10),
            i(5, 2)),
        fit(
            new Router(2, Experts.Scoring.SOFTMAX, true, 1, 0, 0),
            List.of(f(5, 4), i(1), f(3, 14), f(3, 5), i(3, 5)),
            f(5, 2),
            i(5, 2),
            i(5),
            i(10),
            i(5, 2)),
        fit(
            new ExpertLayer(Experts.Activation.SWIGLU),
            List.of(f(5, 6), f(4, 14, 6), f(4, 6, 7), f(5, 2), i(5), i(10), i(5, 2)),
            f(5, 6),
            f(10, 14)),
        fit(
            new Balance(Experts.Balance.FIRST, 0.01, 0, 2),
            List.of(f(3, 14), f(3, 5), i(3, 5), TensorType.bytes(168), state),
            TensorType.bytes(168)),
        fit(new LinearCrossEntropy(2), List.of(f(5, 4), f(7, 4), i(5), i(5), i(1), state), f(5)),
        fit(
            new LinearCrossEntropy(2, new Vocabulary(3, 9)),
            List.of(f(5, 4), f(3, 4), i(5), i(5), i(1), state),
            f(5)),
        fit(
            new LinearCrossEntropy.Gradient(2),
            List.of(f(5, 4), f(7, 4), i(5), i(5), i(1), state, f(7, 4)),
            f(5),
            f(5, 4),
            f(7, 4)));
  }

  private static TensorType bf16(long... shape) {
    return new TensorType(DType.BF16, shape);
  }

  private static List<Tensor> tensors(List<TensorType> types) {
    List<Tensor> tensors = new ArrayList<>();
    for (TensorType type : types) {
      tensors.add(new Tensor(tensors.size(), "t" + tensors.size(), type, Role.ACTIVATION));
    }
    return tensors;
  }

  @ParameterizedTest
  @MethodSource("fitting")
  void inputsThatFitGiveTheTypesOfTheOutputs(Fitting one) {
    assertEquals(Arrays.asList(one.outputs), one.op.outputs(tensors(one.inputs)));
  }

  /** Whatever is wrong with one input, an op refuses it in words or takes it; it never stumbles. */
  @ParameterizedTest
  @MethodSource("fitting")
  void anInputOfAnotherRankIsRefusedInWords(Fitting one) {
    for (int input = 0; input < one.inputs.size(); input++) {
      for (long[] shape : new long[][] {{2}, {2, 3}, {2, 3, 5}, {2, 3, 5, 7}, {0}, {0, 0, 0}}) {
        List<TensorType> types = new ArrayList<>(one.inputs);
        types.set(input, new TensorType(types.get(input).dtype(), shape));
        try {
          assertFalse(one.op.outputs(tensors(types)).isEmpty());
        } catch (IllegalArgumentException refused) {
          assertTrue(refused.getMessage().contains("got "), refused.getMessage());
        }
      }
    }
  }

  @Test
  void messagesNameTheInputWhatItIsAndWhatItNeeds() {
    assertMessage(
        "b: got f32[5, 3], needs [5, 4]", MatMul.linear(false, DType.F32), f(3, 4), f(5, 3));
    assertMessage("got f32[3, 4] and f32[4, 3], needs equal types", new Add(), f(3, 4), f(4, 3));
    assertMessage(
        "got f32[3, 4] and bf16[3, 4], needs equal types", new Add(), f(3, 4), bf16(3, 4));
    assertMessage("bias: got f32[5], needs [4]", new Bias(), f(3, 4), f(5));
    assertMessage("weight: got f32[5], needs [4]", new RmsNorm(1e-5f, false), f(3, 4), f(5));
    assertMessage("got f32[3, 4], asked as f32[5, 2]", View.as(5, 2), f(3, 4));
    assertMessage(
        "positions: got i32[4], needs [3]",
        new Rope(false, false),
        f(3, 2, 8),
        i(4),
        f(9, 4),
        f(9, 4));
    assertMessage(
        "cos: wider than half a head", new Rope(false, false), f(3, 2, 8), i(3), f(9, 5), f(9, 5));
    assertMessage(
        "got 3 query heads for 2 key heads",
        new Attention(CAUSAL, false),
        f(5, 3, 8),
        f(5, 2, 8),
        f(5, 2, 8),
        i(2),
        i(2));
    assertMessage(
        "sinks: got f32[3], needs [2]",
        new Attention(CAUSAL, false, true),
        f(5, 2, 8),
        f(5, 2, 8),
        f(5, 2, 8),
        i(2),
        i(2),
        f(3));
    assertMessage(
        "table: got f32[7, 4] as one of 3 parts of 9 rows, needs 3 rows",
        new Embedding(new Vocabulary(3, 9)),
        i(5),
        f(7, 4),
        i(1));
    assertMessage(
        "weight: got f32[2, 4] as one of 3 parts of 9 rows, needs 3 rows",
        new LinearCrossEntropy(2, new Vocabulary(3, 9)),
        f(5, 4),
        f(2, 4),
        i(5),
        i(5),
        i(1),
        TensorType.bytes(256));
    assertMessage(
        "got chunks of 0 rows, needs at least 1",
        new LinearCrossEntropy(0),
        f(5, 4),
        f(7, 4),
        i(5),
        i(5),
        i(1),
        TensorType.bytes(256));
  }

  @Test
  void messagesOfExpertsNameWhatDoesNotFit() {
    assertMessage(
        "got 5 choices of 4 experts",
        new Router(5, Experts.Scoring.SOFTMAX, true, 0, 0, 0),
        f(5, 4),
        i(1));
    assertMessage(
        "w2: got f32[4, 6, 8], needs [4, 6, 7]",
        new ExpertLayer(Experts.Activation.SWIGLU),
        f(5, 6),
        f(4, 14, 6),
        f(4, 6, 8),
        f(5, 2),
        i(5),
        i(10),
        i(5, 2));
    assertMessage(
        "got 4 experts for 3 ranks, needs a multiple",
        new ExpertPlaces(3, 8),
        i(5, 2),
        i(5),
        i(10),
        i(5, 2));
    assertMessage(
        "got f32[7, 6] for 2 ranks, needs equal rows",
        new AllToAllRows(Collective.Axis.EXPERT, 2),
        f(7, 6));
    assertMessage("back: got i32[4, 2], needs [5, any]", new SumRows(), f(5, 6), i(4, 2), i(4, 2));
    assertMessage(
        "slots: got i32[9, 1], needs [8, 1]",
        new ExchangeRouting(Collective.Axis.EXPERT, 2),
        f(5, 2),
        i(8, 1),
        i(5, 2),
        i(9, 1),
        i(5),
        i(10));
  }

  private static void assertMessage(String message, Op op, TensorType... inputs) {
    List<Tensor> tensors = tensors(List.of(inputs));
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> op.outputs(tensors));
    assertEquals(message, refused.getMessage());
  }
}
