package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import java.util.List;

/**
 * One op applied to tensors.
 *
 * @param op what is computed
 * @param inputs what it reads, in the op's order
 * @param outputs what it makes
 * @param scope where in the model, as "layers.3.attn"; for people and for block-wise recompute
 * @param block index of the block that the node belongs to, or -1 outside the blocks
 */
public record Node(Op op, List<Tensor> inputs, List<Tensor> outputs, String scope, int block) {
  /** Copies the lists. */
  public Node {
    inputs = List.copyOf(inputs);
    outputs = List.copyOf(outputs);
  }

  /** One input. */
  public Tensor in(int index) {
    return inputs.get(index);
  }

  /** One output. */
  public Tensor out(int index) {
    return outputs.get(index);
  }

  @Override
  public String toString() {
    return scope.isEmpty() ? op.name() : scope + "/" + op.name();
  }
}
