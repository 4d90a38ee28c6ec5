package dev.caravan.optim;

import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.Map;

/** Updates the weights from their gradients, and owns the state that this takes. */
public interface Optimizer extends AutoCloseable {
  /** Enqueues one update; learning rate, step and clip factor are read from the step state. */
  void step(Stream stream);

  /**
   * What must be saved to go on with the same bits: for each moment, by its name, the tensor of each
   * weight.
   */
  Map<String, Map<String, TensorRef>> state();

  @Override
  void close();
}
