package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_class_statistics_args;
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
    caravan_cross_entropy_args args = args(logits, targets, count, nll, state);
    args.first(first).gradient(gradient ? 1 : 0);
    return call(args);
  }

  /**
   * The same of a part of all classes, whose logits alone are at hand: soft-max and loss are over all
   * parts, gradients of padding are 0.
   *
   * @param logits float [R, V]: classes {@code firstClass} on; those from {@code classes} on are padding
   * @param targets i32 [n], each in 0 to {@code classes - 1}
   * @param statistics f32 [P, R, 3]: of each part, see {@link #statistics}
   */
  public static KernelCall forwardOfPart(
      TensorRef logits,
      TensorRef targets,
      TensorRef count,
      TensorRef nll,
      TensorRef state,
      long first,
      boolean gradient,
      TensorRef statistics,
      long firstClass,
      long classes) {
    caravan_cross_entropy_args args = args(logits, targets, count, nll, state);
    args.first(first).gradient(gradient ? 1 : 0);
    set(args.statistics(), statistics);
    args.first_class(firstClass).classes(classes);
    return call(args);
  }

  /**
   * What the cross-entropy has to know of a part of all classes: of each row in use, its maximum, the
   * sum of {@code exp(logit - maximum)} and the target's logit, -infinity where the target is of
   * another part; of other rows -infinity, 0, -infinity.
   *
   * @param logits float [R, V]: classes {@code firstClass} on; those from {@code classes} on are padding
   * @param targets i32 [n], each in 0 to {@code classes - 1}
   * @param count i32 [1], at most n
   * @param statistics f32 [R, 3] =
   */
  public static KernelCall statistics(
      TensorRef logits,
      TensorRef targets,
      TensorRef count,
      TensorRef statistics,
      long first,
      long firstClass,
      long classes) {
    caravan_class_statistics_args args = zeroed(new caravan_class_statistics_args());
    set(args.logits(), logits);
    set(args.targets(), targets);
    set(args.count(), count);
    set(args.statistics(), statistics);
    args.first(first).first_class(firstClass).classes(classes);
    return KernelCall.of(
        "class_statistics_forward",
        args,
        stream -> Caravan.caravan_class_statistics_forward(stream, args));
  }

  private static caravan_cross_entropy_args args(
      TensorRef logits, TensorRef targets, TensorRef count, TensorRef nll, TensorRef state) {
    caravan_cross_entropy_args args = zeroed(new caravan_cross_entropy_args());
    set(args.logits(), logits);
    set(args.targets(), targets);
    set(args.count(), count);
    set(args.nll(), nll);
    set(args.state(), state);
    return args;
  }

  private static KernelCall call(caravan_cross_entropy_args args) {
    return KernelCall.of(
        "cross_entropy_forward",
        args,
        stream -> Caravan.caravan_cross_entropy_forward(stream, args));
  }
}
