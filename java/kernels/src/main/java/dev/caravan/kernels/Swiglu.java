package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_glu_backward_args;
import dev.caravan.kernels.abi.caravan_glu_forward_args;

/**
 * Gated units, swiglu and geglu. Source: Shazeer 2020, arXiv 2002.05202, eq. 6. Rows may be
 * strided, so gate and up may be the halves of one buffer.
 */
public final class Swiglu {
  private Swiglu() {}

  /**
   * {@code out = silu(gate) * up}, {@code silu(x) = x / (1 + exp(-x))}.
   *
   * @param gate float [R, F]
   * @param up float [R, F]
   * @param out float [R, F] =
   */
  public static KernelCall forward(TensorRef gate, TensorRef up, TensorRef out) {
    caravan_glu_forward_args args = forwardArgs(gate, up, out);
    return KernelCall.of(
        "swiglu_forward", args, stream -> Caravan.caravan_swiglu_forward(stream, args));
  }

  /**
   * Gradients of {@link #forward}.
   *
   * @param dOut float [R, F]
   * @param dGate float [R, F] =, may be {@code gate}
   * @param dUp float [R, F] =, may be {@code up}
   */
  public static KernelCall backward(
      TensorRef dOut, TensorRef gate, TensorRef up, TensorRef dGate, TensorRef dUp) {
    caravan_glu_backward_args args = backwardArgs(dOut, gate, up, dGate, dUp);
    return KernelCall.of(
        "swiglu_backward", args, stream -> Caravan.caravan_swiglu_backward(stream, args));
  }

  /**
   * {@code out = gelu(gate) * up}, shapes as in {@link #forward}.
   *
   * @param approximate gelu by tanh rather than by erf
   */
  public static KernelCall gegluForward(
      TensorRef gate, TensorRef up, TensorRef out, boolean approximate) {
    caravan_glu_forward_args args = forwardArgs(gate, up, out).approximate(approximate ? 1 : 0);
    return KernelCall.of(
        "geglu_forward", args, stream -> Caravan.caravan_geglu_forward(stream, args));
  }

  /** Gradients of {@link #gegluForward}, shapes as in {@link #backward}. */
  public static KernelCall gegluBackward(
      TensorRef dOut,
      TensorRef gate,
      TensorRef up,
      TensorRef dGate,
      TensorRef dUp,
      boolean approximate) {
    caravan_glu_backward_args args =
        backwardArgs(dOut, gate, up, dGate, dUp).approximate(approximate ? 1 : 0);
    return KernelCall.of(
        "geglu_backward", args, stream -> Caravan.caravan_geglu_backward(stream, args));
  }

  private static caravan_glu_forward_args forwardArgs(TensorRef gate, TensorRef up, TensorRef out) {
    caravan_glu_forward_args args = zeroed(new caravan_glu_forward_args());
    set(args.gate(), gate);
    set(args.up(), up);
    set(args.out(), out);
    return args;
  }

  private static caravan_glu_backward_args backwardArgs(
      TensorRef dOut, TensorRef gate, TensorRef up, TensorRef dGate, TensorRef dUp) {
    caravan_glu_backward_args args = zeroed(new caravan_glu_backward_args());
    set(args.d_out(), dOut);
    set(args.gate(), gate);
    set(args.up(), up);
    set(args.d_gate(), dGate);
    set(args.d_up(), dUp);
    return args;
  }
}
