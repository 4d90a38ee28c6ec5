package dev.caravan.ops;

import dev.caravan.kernels.Swiglu;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Gated unit {@code out = f(gate) * up}. Inputs: gate, up [R, F]. Output: out [R, F]. Source: Shazeer
 * 2020, arXiv 2002.05202, eq. 6.
 *
 * @param activation f
 */
public record Glu(Activation activation) implements Op {
  /** The gate's function. */
  public enum Activation {
    /** x / (1 + exp(-x)): SwiGLU. */
    SILU,
    /** x times the normal distribution function: GEGLU. */
    GELU,
    /** The same by its tanh approximation. */
    GELU_TANH
  }

  @Override
  public String name() {
    return activation == Activation.SILU ? "swiglu" : "geglu";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("gate", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("up", in.get(1), in.get(0).type().shape());
    return List.of(in.get(0).type());
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    List<Tensor> made = gradients.emit(new Backward(activation), d, node.in(0), node.in(1));
    gradients.add(node.in(0), made.get(0));
    gradients.add(node.in(1), made.get(1));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    TensorRef gate = memory.ref(node.in(0));
    TensorRef up = memory.ref(node.in(1));
    TensorRef out = memory.ref(node.out(0));
    return List.of(
        memory.launch(
            activation == Activation.SILU
                ? Swiglu.forward(gate, up, out)
                : Swiglu.gegluForward(gate, up, out, activation == Activation.GELU_TANH)));
  }

  @Override
  public boolean cheap() {
    return true;
  }

  /** Gradient. Inputs: d_out, gate, up. Outputs: d_gate, d_up. */
  public record Backward(Activation activation) implements Op {
    @Override
    public String name() {
      return activation == Activation.SILU ? "swiglu_backward" : "geglu_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(1).type(), in.get(2).type());
    }

    @Override
    public int mayReuse(int output) {
      return output + 1;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      TensorRef dOut = memory.ref(node.in(0));
      TensorRef gate = memory.ref(node.in(1));
      TensorRef up = memory.ref(node.in(2));
      TensorRef dGate = memory.ref(node.out(0));
      TensorRef dUp = memory.ref(node.out(1));
      return List.of(
          memory.launch(
              activation == Activation.SILU
                  ? Swiglu.backward(dOut, gate, up, dGate, dUp)
                  : Swiglu.gegluBackward(
                      dOut, gate, up, dGate, dUp, activation == Activation.GELU_TANH)));
    }
  }
}
