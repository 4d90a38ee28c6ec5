package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import java.util.List;

/**
 * The gradients that have reached each tensor so far, while autodiff walks the graph backwards. A sum
 * that nobody else holds is "owned": a kernel may add to it in place.
 */
public interface Gradients {
  /** The whole gradient of an output of the node being differentiated; null if none reached it. */
  Tensor of(Tensor output);

  /** Whether a gradient of this input is wanted at all. */
  boolean wanted(Tensor input);

  /** The sum so far, for reading only; null if nothing has reached the input yet. */
  Tensor sum(Tensor input);

  /** The sum so far if a kernel may add to it in place; null otherwise. */
  Tensor owned(Tensor input);

  /** Another part of the input's gradient, made for it alone. */
  void add(Tensor input, Tensor part);

  /** Another part of the input's gradient that others read too (an op that passes gradients on). */
  void share(Tensor input, Tensor part);

  /** The new sum of the input's gradient, which contains what {@link #sum} gave. */
  void set(Tensor input, Tensor sum);

  /** Adds a node to the backward part of the graph. */
  List<Tensor> emit(Op op, Tensor... inputs);
}
