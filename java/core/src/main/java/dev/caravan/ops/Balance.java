package dev.caravan.ops;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Balance and z losses over all sparse layers of a micro-batch, after the last of them. Inputs, all
 * kept between launches: statistics f32 [L, 3 E + 2], factors f32 [L, E + 1], offsets i32 [L, E + 1],
 * totals of the step (f64 [L, E + 3] as bytes), the step state. It writes the factors, which the
 * routers' gradients read, and adds to the totals. Output: the totals, added to in place.
 *
 * @param definition of the balance loss
 * @param weight of the balance loss
 * @param zWeight of the z loss
 * @param choices experts of a token
 */
public record Balance(Experts.Balance definition, double weight, double zWeight, int choices)
    implements Op {
  private static final int TOTALS = 3;

  @Override
  public String name() {
    return "balance";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("factors", in.get(1), Shapes.ANY, Shapes.ANY);
    long layers = in.get(1).dim(0);
    long experts = in.get(1).dim(1) - 1;
    Shapes.need("stats", in.get(0), layers, Experts.stats(experts));
    Shapes.need("offsets", in.get(2), layers, experts + 1);
    Shapes.need("totals", in.get(TOTALS), totalBytes(layers, experts));
    return List.of(in.get(TOTALS).type());
  }

  /** Bytes of the totals of so many layers. */
  public static long totalBytes(long layers, long experts) {
    return layers * (experts + 3) * DType.F64.bytes();
  }

  @Override
  public int inPlace(int output) {
    return TOTALS;
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    TensorRef totals = memory.ref(node.in(TOTALS));
    long layers = node.in(0).dim(0);
    long width = node.in(1).dim(1) + 2;
    return List.of(
        memory.launch(
            Experts.balance(
                memory.ref(node.in(0)),
                memory.ref(node.in(4)),
                memory.ref(node.in(1)),
                TensorRef.of(totals.address(), DType.F64, layers, width),
                memory.ref(node.in(2)),
                definition,
                (float) weight,
                (float) zWeight,
                choices)));
  }
}
