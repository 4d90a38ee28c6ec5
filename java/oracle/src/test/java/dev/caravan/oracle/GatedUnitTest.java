package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Swiglu;
import dev.caravan.kernels.TensorRef;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** swiglu and geglu against PyTorch's silu and gelu. */
class GatedUnitTest {
  private enum Unit {
    SWIGLU,
    GEGLU_ERF,
    GEGLU_TANH;

    Tensor activation(Tensor gate) {
      return switch (this) {
        case SWIGLU -> torch.silu(gate);
        case GEGLU_ERF -> torch.gelu(gate, "none");
        case GEGLU_TANH -> torch.gelu(gate, "tanh");
      };
    }

    KernelCall forward(TensorRef gate, TensorRef up, TensorRef out) {
      return this == SWIGLU
          ? Swiglu.forward(gate, up, out)
          : Swiglu.gegluForward(gate, up, out, this == GEGLU_TANH);
    }

    KernelCall backward(
        TensorRef dOut, TensorRef gate, TensorRef up, TensorRef dGate, TensorRef dUp) {
      return this == SWIGLU
          ? Swiglu.backward(dOut, gate, up, dGate, dUp)
          : Swiglu.gegluBackward(dOut, gate, up, dGate, dUp, this == GEGLU_TANH);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "Float,1,1,1",
    "Float,3,17,2",
    "Float,17,256,3",
    "Float,2,1031,1",
    "Float,3,33,60",
    "BFloat16,1,1,1",
    "BFloat16,3,17,2",
    "BFloat16,17,256,3",
    "BFloat16,3,33,60"
  })
  void everyUnit(ScalarType type, long rows, long width, double spread) {
    for (Unit unit : Unit.values()) {
      Torch.seed(width + unit.ordinal());
      // Gate and up are the halves of one product's rows.
      Tensor both = Torch.randn(type, rows, 2 * width).mul(Torch.number(spread));
      Tensor gate = both.narrow(1, 0, width);
      Tensor up = both.narrow(1, width, width);
      Tensor dOut = Torch.randn(type, rows, width);
      Torch.Expression expression = in -> unit.activation(in[0]).mul(in[1]);
      Torch.Traced exact = Torch.trace(Torch.F64, expression, dOut, gate, up);
      Torch.Traced plain = Torch.trace(type, expression, dOut, gate, up);

      Tensor out = Torch.poisoned(type, rows, width);
      Ops.run(unit.forward(ref(gate), ref(up), ref(out)));
      Closeness.GATED_UNIT.check(unit + " out", out, exact.value(), plain.value());

      // d_gate takes the place of gate, in the strided rows; d_up is elsewhere.
      Tensor dBoth = both.clone();
      Tensor dGate = dBoth.narrow(1, 0, width);
      Tensor dUp = Torch.poisoned(type, rows, width);
      Ops.run(unit.backward(ref(dOut), ref(dGate), ref(up), ref(dGate), ref(dUp)));
      Closeness.GATED_UNIT.check(unit + " d_gate", dGate, exact.gradient(0), plain.gradient(0));
      Closeness.GATED_UNIT.check(unit + " d_up", dUp, exact.gradient(1), plain.gradient(1));
      Closeness.same("the other half", dBoth.narrow(1, width, width), up);
      assertTrue(Torch.guarded(out) && Torch.guarded(dUp));
    }
  }
}
