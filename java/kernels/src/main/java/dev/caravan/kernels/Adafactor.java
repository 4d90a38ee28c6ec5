package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_adafactor_args;

/**
 * Adafactor for one tensor. Source: Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5.
 */
public final class Adafactor {
  private Adafactor() {}

  /**
   * The numbers of the algorithm.
   *
   * @param beta1 decay of the first moment; 0 keeps none
   * @param decayRate the second moment decays by 1 - t^-decayRate
   * @param eps1 added to squared gradients
   * @param eps2 least scale of a parameter
   * @param clipThreshold greatest root mean square of an update
   * @param scaleParameter whether the step is relative to the parameter's root mean square
   */
  public record Options(
      float beta1,
      float decayRate,
      float eps1,
      float eps2,
      float clipThreshold,
      float weightDecay,
      boolean scaleParameter) {}

  /**
   * One step; nothing happens when the state's finite is 0. The second moment is factored when
   * {@code row} and {@code col} are given, else whole in {@code v}.
   *
   * @param param f32 or bf16, [R, C] or [n], inout
   * @param remainder u16 as param, inout, needed with a bf16 param
   * @param grad float as param, before clipping
   * @param row f32 [R], inout, or null
   * @param col f32 [C], inout, or null
   * @param v f32 as param, inout, or null when factored
   * @param m f32 as param, inout, needed when beta1 is not 0
   * @param state of the step, see {@link StepState#ref}
   */
  public static KernelCall step(
      TensorRef param,
      TensorRef remainder,
      TensorRef grad,
      TensorRef row,
      TensorRef col,
      TensorRef v,
      TensorRef m,
      TensorRef state,
      Options options) {
    caravan_adafactor_args args = zeroed(new caravan_adafactor_args());
    set(args.param(), param);
    set(args.remainder(), remainder);
    set(args.grad(), grad);
    set(args.row(), row);
    set(args.col(), col);
    set(args.v(), v);
    set(args.m(), m);
    set(args.state(), state);
    args.beta1(options.beta1)
        .decay_rate(options.decayRate)
        .eps1(options.eps1)
        .eps2(options.eps2)
        .clip_threshold(options.clipThreshold)
        .weight_decay(options.weightDecay)
        .scale_parameter(options.scaleParameter ? 1 : 0)
        .factored(row != null ? 1 : 0);
    return KernelCall.of(
        "adafactor_step",
        args,
        stream -> Caravan.caravan_adafactor_step(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_adafactor_workspace(kind, args, bytes));
  }
}
