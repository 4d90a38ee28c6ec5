package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Begins the sum over all ranks of a bucket's gradients, of which every rank gets its own part, where it
 * lies. Inputs: the gradients. Outputs: their memory, of which only the rank's part is worth anything
 * when the exchange was waited for.
 *
 * @param axis between which ranks
 * @param ranks how many there are
 * @param tag names the exchange within its graph, for {@link Join}
 */
public record ReduceScatter(Axis axis, int ranks, int tag) implements Op {
  @Override
  public String name() {
    return "reduce_scatter";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    return in.stream().map(Tensor::type).toList();
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    Tensor first = node.in(0);
    return List.of(
        memory.begin(
            new Collective(
                Kind.REDUCE_SCATTER, axis, ranks, memory.bucket(first), memory.part(first), 0),
            tag));
  }

  @Override
  public int inPlace(int output) {
    return output;
  }

  @Override
  public boolean exchanges() {
    return true;
  }

  @Override
  public long wireBytes(Node node) {
    long bytes = node.inputs().stream().mapToLong(input -> input.type().byteSize()).sum();
    return Collective.wireBytes(Kind.REDUCE_SCATTER, ranks, bytes);
  }
}
