package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_global_norm_args;

/** The norm of all gradients together, and from it the factor that clips them. */
public final class GlobalNorm {
  private GlobalNorm() {}

  /**
   * Writes grad_norm, clip_factor and finite of the state.
   *
   * @param grads float [n]
   * @param state of the step, see {@link StepState#ref}
   */
  public static KernelCall forward(TensorRef grads, TensorRef state) {
    caravan_global_norm_args args = zeroed(new caravan_global_norm_args());
    set(args.grads(), grads);
    set(args.state(), state);
    return KernelCall.of(
        "global_norm_forward",
        args,
        stream -> Caravan.caravan_global_norm_forward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_global_norm_workspace(kind, args, bytes));
  }
}
