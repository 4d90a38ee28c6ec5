package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Waits for exchanges of an axis. Inputs: what was exchanged. Outputs: the same tensors, now done.
 *
 * @param axis whose exchanges
 * @param tag of the last one that is waited for; {@link #ALL} for all
 */
public record Join(Axis axis, int tag) implements Op {
  /** Every exchange begun so far. */
  public static final int ALL = -1;

  @Override
  public String name() {
    return "join";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    return in.stream().map(Tensor::type).toList();
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(memory.join(axis, tag));
  }

  @Override
  public int viewOf(int output) {
    return output;
  }

  @Override
  public boolean exchanges() {
    return true;
  }
}
