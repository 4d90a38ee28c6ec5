package dev.caravan.graph;

import dev.caravan.ops.Addresses;
import dev.caravan.ops.Launch;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/**
 * An op that computes nothing, for plans: it has the outputs that it is told to have.
 *
 * @param types of the outputs
 * @param inPlaces input that each output takes over because the op adds to it, or {@link #NO_ALIAS}
 * @param views input that each output is a view of
 * @param reuses input whose memory each output may take over
 */
record FakeOp(
    List<TensorType> types, List<Integer> inPlaces, List<Integer> views, List<Integer> reuses)
    implements Op {
  /** Bytes made of nothing. */
  static FakeOp makes(long... bytes) {
    List<TensorType> types = Arrays.stream(bytes).mapToObj(TensorType::bytes).toList();
    return new FakeOp(types, List.of(), List.of(), List.of());
  }

  /** One output that is added to in place. */
  static FakeOp addsTo(int input, long bytes) {
    return new FakeOp(List.of(TensorType.bytes(bytes)), List.of(input), List.of(), List.of());
  }

  /** One output that is a view of an input. */
  static FakeOp views(int input, long bytes) {
    return new FakeOp(List.of(TensorType.bytes(bytes)), List.of(), List.of(input), List.of());
  }

  /** One output that may take over an input's memory. */
  static FakeOp reuses(int input, long bytes) {
    return new FakeOp(List.of(TensorType.bytes(bytes)), List.of(), List.of(), List.of(input));
  }

  @Override
  public String name() {
    return "fake";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> inputs) {
    return types;
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of();
  }

  @Override
  public int inPlace(int output) {
    return at(inPlaces, output);
  }

  @Override
  public int viewOf(int output) {
    return at(views, output);
  }

  @Override
  public int mayReuse(int output) {
    return at(reuses, output);
  }

  private static int at(List<Integer> aliases, int output) {
    return output < aliases.size() ? aliases.get(output) : NO_ALIAS;
  }
}
