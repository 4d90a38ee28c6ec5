package dev.caravan.ops;

import dev.caravan.kernels.Attention.Options;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Fused attention over packed documents. Inputs: q [Tq, H, N], k [Tk, K, N], v [Tk, K, M], where the
 * documents begin among the queries and among the keys (i32 [S + 1] each), and the relative-position
 * table f32 [buckets, H] where there is one. Outputs: out [Tq, H, M], log-sum-exp f32 [H, Tq]. The
 * meaning of every setting is in caravan.h.
 *
 * @param options masks, scale, soft-cap, bias
 * @param biased the last input is there
 */
public record Attention(Options options, boolean biased) implements Op {
  @Override
  public String name() {
    return "attention";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType q = in.get(0).type();
    TensorType v = in.get(2).type();
    Shapes.need("q", in.get(0), Shapes.ANY, Shapes.ANY, Shapes.ANY);
    Shapes.need("v", in.get(2), Shapes.ANY, Shapes.ANY, Shapes.ANY);
    Shapes.need("k", in.get(1), v.dim(0), v.dim(1), q.dim(2));
    Shapes.that(
        v.dim(1) > 0 && q.dim(1) % v.dim(1) == 0,
        "got " + q.dim(1) + " query heads for " + v.dim(1) + " key heads");
    Shapes.need("cu_q", in.get(3), Shapes.ANY);
    Shapes.need("cu_k", in.get(4), in.get(3).type().shape());
    if (biased) {
      Shapes.need("bias", in.get(5), Shapes.ANY, q.dim(1));
    }
    return List.of(
        new TensorType(q.dtype(), q.dim(0), q.dim(1), v.dim(2)),
        TensorType.f32(q.dim(1), q.dim(0)));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    Tensor[] inputs = new Tensor[biased ? 10 : 8];
    inputs[0] = d;
    for (int i = 0; i < 5; i++) {
      inputs[1 + i] = node.in(i);
    }
    inputs[6] = node.out(0);
    inputs[7] = node.out(1);
    if (biased) {
      inputs[8] = node.in(5);
      inputs[9] = gradients.owned(node.in(5));
    }
    List<Tensor> made = gradients.emit(new Backward(options, biased), inputs);
    for (int i = 0; i < 3; i++) {
      gradients.add(node.in(i), made.get(i));
    }
    if (biased) {
      gradients.set(node.in(5), made.get(3));
    }
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(memory.launch(call(node, memory)));
  }

  private KernelCall call(Node node, Addresses memory) {
    return dev.caravan.kernels.Attention.forward(
        memory.ref(node.in(0)),
        memory.ref(node.in(1)),
        memory.ref(node.in(2)),
        memory.ref(node.out(0)),
        memory.ref(node.out(1)),
        memory.ref(node.in(3)),
        memory.ref(node.in(4)),
        biased ? memory.ref(node.in(5)) : null,
        options);
  }

  /**
   * Gradient. Inputs: d_out, q, k, v, cu_q, cu_k, out, log-sum-exp, and with a bias its table and the
   * table's gradient, added to in place. Outputs: d_q, d_k, d_v, and the table's gradient.
   */
  public record Backward(Options options, boolean biased) implements Op {
    @Override
    public String name() {
      return "attention_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      TensorType q = in.get(1).type();
      TensorType k = in.get(2).type();
      TensorType v = in.get(3).type();
      return biased ? List.of(q, k, v, in.get(9).type()) : List.of(q, k, v);
    }

    @Override
    public int inPlace(int output) {
      return output == 3 ? 9 : NO_ALIAS;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(memory.launch(call(node, memory)));
    }

    private KernelCall call(Node node, Addresses memory) {
      return dev.caravan.kernels.Attention.backward(
          memory.ref(node.in(0)),
          memory.ref(node.in(1)),
          memory.ref(node.in(2)),
          memory.ref(node.in(3)),
          memory.ref(node.in(6)),
          memory.ref(node.in(7)),
          memory.ref(node.in(4)),
          memory.ref(node.in(5)),
          biased ? memory.ref(node.in(8)) : null,
          memory.ref(node.out(0)),
          memory.ref(node.out(1)),
          memory.ref(node.out(2)),
          biased ? memory.ref(node.in(9)) : null,
          options);
    }
  }
}
