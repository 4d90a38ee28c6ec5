package dev.caravan.ops;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.TensorRef;
import dev.caravan.ops.GatherRouting.ByChoice;
import dev.caravan.ops.GatherRouting.ByRow;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * The weights of the choices that come to a rank. Inputs: weights f32 [T, C], the assignments i32 [N P, 1]
 * and places i32 [T, C] of {@link ExpertPlaces}, the slots i32 [N P, 1] by which the rank sorted what came,
 * the {@link Router}'s own offsets i32 [E + 1] and assignments i32 [T C], and what the exchange takes besides.
 * Output: f32 [N P, 1], 0 at an empty place. Its gradient comes by the rows of that sort, f32 [N P], and goes
 * on by those of the router, f32 [T C].
 *
 * @param exchange how rows travel
 */
public record ExchangeRouting(AllToAllRows exchange) implements Op {
  private static final int OFFSETS = 6; // of all ranks

  /** Exchanges whole parts. */
  public ExchangeRouting(Axis axis, int ranks) {
    this(new AllToAllRows(axis, ranks));
  }

  @Override
  public String name() {
    return "exchange_routing";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("weights", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("sent", in.get(1), Shapes.ANY, 1);
    Shapes.need("places", in.get(2), in.get(0).type().shape());
    Shapes.need("slots", in.get(3), in.get(1).dim(0), 1);
    Shapes.need("offsets", in.get(4), Shapes.ANY);
    Shapes.need("assignments", in.get(5), in.get(0).type().elements());
    return List.of(TensorType.f32(in.get(1).dim(0), 1));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor byRow = gradients.of(node.out(0));
    Tensor come = gradients.emit(new ByChoice(), byRow, node.in(3)).get(0);
    Tensor back =
        exchange.counted() == null
            ? gradients.emit(exchange, come).get(0)
            : gradients.emit(exchange.reversed(), come, node.in(OFFSETS)).get(0);
    Tensor own = gradients.emit(new ByChoice(), back, node.in(2)).get(0);
    gradients.add(
        node.in(0), gradients.emit(new ByRow(), own, node.in(4), node.in(5)).get(0));
  }

  /** The weights in the order in which they are sent. */
  @Override
  public List<TensorType> scratch(Node node) {
    return List.of(node.out(0).type());
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    TensorRef sent = memory.scratch(0);
    List<Launch> launches = new ArrayList<>();
    launches.add(
        memory.launch(
            Experts.combine(
                GatherRouting.column(memory, node.in(0)),
                memory.ref(node.in(1)),
                null,
                sent)));
    TensorRef row = TensorRef.of(sent.address(), sent.dtype(), node.out(0).type().elements());
    launches.addAll(
        exchange.launches(
            memory,
            row,
            memory.row(node.out(0)),
            exchange.counted() == null ? null : memory.ref(node.in(OFFSETS)),
            node.out(0).dim(0)));
    return launches;
  }

  @Override
  public boolean readsOnHost() {
    return exchange.readsOnHost();
  }

  @Override
  public long wireBytes(Node node) {
    return exchange.wireBytes(node.out(0).type());
  }
}
