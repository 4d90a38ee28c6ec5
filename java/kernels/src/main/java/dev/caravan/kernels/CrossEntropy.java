package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_cross_entropy_args;

/** Negative log-likelihood of targets, and its gradient in the same sweep. */
public final class CrossEntropy {
  private CrossEntropy() {}

  /**
   * One chunk of rows: row i of it is target row {@code first + i}, in use when below count. {@code
   * nll[first + i] = log-sum-exp - logits[i][target]}, in nats; the state's loss_sum += their sum.
   * With {@code gradient}, logits become {@code (softmax - onehot) * state.inv_targets}, rows not
   * in use 0.
   *
   * @param logits float [R, V], in and, with {@code gradient}, out
   * @param targets i32 [n], each in 0 to V-1
   * @param count i32 [1], at most n
   * @param nll f32 [n] =, for rows in use
   * @param state of the step, see {@link StepState#ref}
   */
  public static KernelCall forward(
      TensorRef logits,
      TensorRef targets,
      TensorRef count,
      TensorRef nll,
      TensorRef state,
      long first,
      boolean gradient) {
    caravan_cross_entropy_args args = zeroed(new caravan_cross_entropy_args());
    set(args.logits(), logits);
    set(args.targets(), targets);
    set(args.count(), count);
    set(args.nll(), nll);
    set(args.state(), state);
    args.first(first).gradient(gradient ? 1 : 0);
    return KernelCall.of(
        "cross_entropy_forward",
        args,
        stream -> Caravan.caravan_cross_entropy_forward(stream, args));
  }
}
