package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Begins to gather a bucket's weights, of which every rank keeps a part. From here to their last use
 * they lie in the arena. Inputs: the weights. No output.
 *
 * @param axis between which ranks
 * @param ranks how many there are
 * @param tag names the exchange within its graph, for {@link Join}
 */
public record GatherWeights(Axis axis, int ranks, int tag) implements Op {
  @Override
  public String name() {
    return "gather_weights";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    return List.of();
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    Tensor first = node.in(0);
    return List.of(
        memory.begin(
            new Collective(
                Kind.ALL_GATHER, axis, ranks, memory.kept(first), memory.bucket(first), 0),
            tag));
  }

  @Override
  public boolean opensWindow() {
    return true;
  }

  @Override
  public boolean exchanges() {
    return true;
  }

  @Override
  public long wireBytes(Node node) {
    long bytes = node.inputs().stream().mapToLong(input -> input.type().byteSize()).sum();
    return Collective.wireBytes(Kind.ALL_GATHER, ranks, bytes);
  }
}
