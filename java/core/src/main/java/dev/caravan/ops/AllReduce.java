package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * The sum of tensors over all ranks of a group, in place. Inputs: one tensor, or several that lie behind
 * one another in the order given, which are sent as one. Outputs: their memory, on every rank the same
 * bits. Its gradient is another one: each rank's input reaches every rank's output.
 *
 * @param axis between which ranks
 * @param ranks how many there are; one has nothing to exchange
 * @param deferred whether later nodes may run before it is done: those that read it come behind a
 *     {@link Join}
 */
public record AllReduce(Axis axis, int ranks, boolean deferred) implements Op {
  /** Between tensors of one piece of memory there may be so many bytes of padding. */
  private static final long MOST_PADDING = 1024;

  @Override
  public String name() {
    return "all_reduce";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.that(ranks >= 1, "got " + ranks + " ranks, needs at least 1");
    return in.stream().map(Tensor::type).toList();
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    if (deferred || node.inputs().size() > 1) {
      throw new UnsupportedOperationException("all_reduce of gradients has no gradient");
    }
    Tensor d = gradients.of(node.out(0));
    gradients.share(node.in(0), ranks == 1 ? d : gradients.emit(this, d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    if (ranks == 1) {
      return List.of();
    }
    Launch begin = memory.begin(Collective.allReduce(axis, ranks, range(node, memory)), Join.ALL);
    return deferred ? List.of(begin) : List.of(begin, memory.join(axis, Join.ALL));
  }

  /** The tensors as one row, the padding between them included. */
  private static TensorRef range(Node node, Addresses memory) {
    List<TensorRef> parts = new ArrayList<>();
    node.inputs().forEach(input -> parts.add(memory.ref(input)));
    TensorRef first = parts.get(0);
    TensorRef last = parts.get(parts.size() - 1);
    long end = last.address() + last.bytes();
    for (int i = 1; i < parts.size() && first.address() != last.address(); i++) {
      TensorRef before = parts.get(i - 1);
      long padding = parts.get(i).address() - before.address() - before.bytes();
      if (padding < 0 || padding > MOST_PADDING) {
        throw new IllegalStateException(
            "all_reduce: " + node.in(i) + " does not lie behind " + node.in(i - 1));
      }
    }
    return TensorRef.of(
        first.address(), first.dtype(), (end - first.address()) / first.dtype().bytes());
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
    return Collective.wireBytes(Collective.Kind.ALL_REDUCE, ranks, bytes);
  }
}
