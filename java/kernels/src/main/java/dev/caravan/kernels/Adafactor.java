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

  /** A call of a part's step. Between two of them the parts' sums, then squares, are added up. */
  public enum Phase {
    /** Moments that need no other part, and sums. */
    SUM,
    /** From the totals of sums the other moments, and squares. */
    MEASURE,
    /** From the totals of both the update. */
    UPDATE
  }

  /**
   * A param that is one of several equal parts of a whole.
   *
   * @param count how many there are
   * @param axis along which they lie next to each other
   * @param sums f32, of {@link #sums} elements
   * @param squares f32 [1]
   */
  public record Part(int count, int axis, TensorRef sums, TensorRef squares) {
    /** Elements of the sums of a part of a shape. */
    public static long sums(int axis, boolean factored, long... shape) {
      return 2 + (factored && shape.length == 2 ? shape[1 - axis] : 0);
    }
  }

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
    return call(args(param, remainder, grad, row, col, v, m, state, options));
  }

  /**
   * A phase of the step of a part of a param; of row and col it has what belongs to its rows and columns.
   *
   * @param part which part it is
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
      Options options,
      Part part,
      Phase phase) {
    caravan_adafactor_args args = args(param, remainder, grad, row, col, v, m, state, options);
    args.phase(
            switch (phase) {
              case SUM -> Caravan.CARAVAN_ADAFACTOR_SUM;
              case MEASURE -> Caravan.CARAVAN_ADAFACTOR_MEASURE;
              case UPDATE -> Caravan.CARAVAN_ADAFACTOR_UPDATE;
            })
        .parts(part.count)
        .cut(part.axis);
    set(args.sums(), part.sums);
    set(args.squares(), part.squares);
    return call(args);
  }

  private static caravan_adafactor_args args(
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
    return args;
  }

  private static KernelCall call(caravan_adafactor_args args) {
    return KernelCall.of(
        "adafactor_step",
        args,
        stream -> Caravan.caravan_adafactor_step(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_adafactor_workspace(kind, args, bytes));
  }
}
