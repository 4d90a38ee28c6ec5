package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Waits for the exchanges of an axis. Inputs: what was exchanged. Outputs: the same tensors, now done.
 *
 * @param axis whose exchanges
 */
public record Join(Axis axis) implements Op {
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
    return List.of(memory.join(axis));
  }

  @Override
  public int viewOf(int output) {
    return output;
  }
}
