package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/**
 * The same elements in the same order under another shape; moves nothing. Input: x.
 *
 * @param shape the new shape, of as many elements
 */
public record View(List<Long> shape) implements Op {
  /** A view of the given shape. */
  public static View as(long... shape) {
    return new View(Arrays.stream(shape).boxed().toList());
  }

  @Override
  public String name() {
    return "view";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType from = in.get(0).type();
    TensorType to = new TensorType(from.dtype(), shape.stream().mapToLong(Long::longValue).toArray());
    Shapes.that(from.elements() == to.elements(), "got " + from + ", asked as " + to);
    return List.of(to);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    gradients.share(node.in(0), gradients.emit(as(node.in(0).type().shape()), d).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of();
  }

  @Override
  public int viewOf(int output) {
    return 0;
  }

  @Override
  public boolean cheap() {
    return true;
  }
}
