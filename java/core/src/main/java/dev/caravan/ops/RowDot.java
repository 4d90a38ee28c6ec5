package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@code out = sum of a * b (* weight)} over the last axis, in float32. Inputs: a [..., D], b like a, and
 * optionally weight [D]. Output: f32 [rows]. Rows that are divided among ranks have the sum of what the
 * ranks have: what {@link RmsNormPart} reads, which has its gradient in its own.
 */
public record RowDot() implements Op {
  private static final int WEIGHT = 2;

  @Override
  public String name() {
    return "row_dot";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType a = in.get(0).type();
    Shapes.need("b", in.get(1), a.shape());
    if (in.size() > WEIGHT) {
      Shapes.need("weight", in.get(WEIGHT), a.dim(-1));
    }
    return List.of(TensorType.f32(a.rows()));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    boolean weighted = node.inputs().size() > WEIGHT;
    return List.of(
        memory.launch(
            dev.caravan.kernels.RmsNorm.rowDot(
                memory.rows(node.in(0)),
                memory.rows(node.in(1)),
                weighted ? memory.ref(node.in(WEIGHT)) : null,
                memory.ref(node.out(0)),
                0)));
  }
}
