package dev.caravan.ops;

import dev.caravan.kernels.Rope.Layout;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Rotary position embedding. Inputs: x [T, H, N], positions i32 [T], cos and sin f32 [P, n/2]. Output: y
 * [T, H, N]. Source: Su et al. 2021, arXiv 2104.09864, eq. 34.
 *
 * @param interleaved pairs (2i, 2i + 1) rather than (i, i + n/2)
 * @param reverse turns the other way: the gradient
 */
public record Rope(boolean interleaved, boolean reverse) implements Op {
  @Override
  public String name() {
    return reverse ? "rope_backward" : "rope";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.need("x", in.get(0), Shapes.ANY, Shapes.ANY, Shapes.ANY);
    Shapes.need("positions", in.get(1), x.dim(0));
    Shapes.need("cos", in.get(2), Shapes.ANY, Shapes.ANY);
    Shapes.need("sin", in.get(3), in.get(2).type().shape());
    Shapes.that(2 * in.get(2).dim(1) <= x.dim(2), "cos: wider than half a head");
    return List.of(x);
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    Rope back = new Rope(interleaved, !reverse);
    gradients.add(
        node.in(0), gradients.emit(back, d, node.in(1), node.in(2), node.in(3)).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    TensorRef x = memory.ref(node.in(0));
    TensorRef y = memory.ref(node.out(0));
    TensorRef positions = memory.ref(node.in(1));
    TensorRef cos = memory.ref(node.in(2));
    TensorRef sin = memory.ref(node.in(3));
    Layout layout = interleaved ? Layout.INTERLEAVED : Layout.HALF;
    return List.of(
        memory.launch(
            reverse
                ? dev.caravan.kernels.Rope.backward(x, y, positions, cos, sin, layout)
                : dev.caravan.kernels.Rope.forward(x, y, positions, cos, sin, layout)));
  }

  @Override
  public int mayReuse(int output) {
    return 0;
  }

  @Override
  public boolean cheap() {
    return true;
  }
}
