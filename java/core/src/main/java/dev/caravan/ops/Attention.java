package dev.caravan.ops;

import dev.caravan.kernels.Attention.Options;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * Fused attention over packed documents. Inputs: q [Tq, H, N], k [Tk, K, N], v [Tk, K, M], where the
 * documents begin among the queries and among the keys (i32 [S + 1] each), the relative-position table
 * [buckets, H] where there is one (in float32 for the kernels), and the sinks f32 [H] where there are any. Outputs: out [Tq, H,
 * M], log-sum-exp f32 [H, Tq]. The meaning of every setting is in caravan.h.
 *
 * @param options masks, scale, soft-cap, bias
 * @param biased the table is there
 * @param sinking the sinks are there
 */
public record Attention(Options options, boolean biased, boolean sinking) implements Op {
  /** Without sinks. */
  public Attention(Options options, boolean biased) {
    this(options, biased, false);
  }

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
    if (sinking) {
      Shapes.need("sinks", in.get(biased ? 6 : 5), q.dim(1));
    }
    return List.of(
        new TensorType(q.dtype(), q.dim(0), q.dim(1), v.dim(2)),
        TensorType.f32(q.dim(1), q.dim(0)));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    List<Tensor> inputs = new ArrayList<>();
    inputs.add(d);
    for (int i = 0; i < 5; i++) {
      inputs.add(node.in(i));
    }
    inputs.add(node.out(0));
    inputs.add(node.out(1));
    List<Tensor> learned = new ArrayList<>();
    for (int i = 5; i < 5 + (biased ? 1 : 0) + (sinking ? 1 : 0); i++) {
      learned.add(node.in(i));
      inputs.add(node.in(i));
      inputs.add(gradients.owned(node.in(i)));
    }
    List<Tensor> made =
        gradients.emit(new Backward(options, biased, sinking), inputs.toArray(Tensor[]::new));
    for (int i = 0; i < 3; i++) {
      gradients.add(node.in(i), made.get(i));
    }
    for (int i = 0; i < learned.size(); i++) {
      gradients.set(learned.get(i), made.get(3 + i));
    }
  }

  @Override
  public List<TensorType> scratch(Node node) {
    return biased ? Table.scratch(node.in(5)) : List.of();
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    List<Launch> launches = new ArrayList<>();
    TensorRef table = biased ? Table.of(node.in(5), memory, launches) : null;
    launches.add(memory.launch(call(node, memory, table)));
    return launches;
  }

  /** The table of relative positions as kernels take it: in float32. */
  private static final class Table {
    static List<TensorType> scratch(Tensor table) {
      boolean wide = table.type().dtype() == DType.F32;
      return wide ? List.of() : List.of(TensorType.f32(table.type().shape()));
    }

    static TensorRef of(Tensor table, Addresses memory, List<Launch> launches) {
      TensorRef ref = memory.ref(table);
      if (ref.dtype() == DType.F32) {
        return ref;
      }
      launches.add(memory.launch(Elementwise.cast(ref, memory.scratch(0))));
      return memory.scratch(0);
    }
  }

  private KernelCall call(Node node, Addresses memory, TensorRef table) {
    return dev.caravan.kernels.Attention.forward(
        memory.ref(node.in(0)),
        memory.ref(node.in(1)),
        memory.ref(node.in(2)),
        memory.ref(node.out(0)),
        memory.ref(node.out(1)),
        memory.ref(node.in(3)),
        memory.ref(node.in(4)),
        table,
        sinking ? memory.ref(node.in(biased ? 6 : 5)) : null,
        options);
  }

  /**
   * Gradient. Inputs: d_out, q, k, v, cu_q, cu_k, out, log-sum-exp, then the table and the table's
   * gradient, added to in place, with a bias, and the same of the sinks. Outputs: d_q, d_k, d_v, and
   * the gradients that were added to.
   */
  public record Backward(Options options, boolean biased, boolean sinking) implements Op {
    /** Without sinks. */
    public Backward(Options options, boolean biased) {
      this(options, biased, false);
    }

    @Override
    public String name() {
      return "attention_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      List<TensorType> types = new ArrayList<>();
      for (int i = 1; i <= 3; i++) {
        types.add(in.get(i).type());
      }
      for (int i = 9; i < in.size(); i += 2) {
        types.add(in.get(i).type());
      }
      return types;
    }

    @Override
    public int inPlace(int output) {
      return output >= 3 ? 2 * output + 3 : NO_ALIAS;
    }

    @Override
    public List<TensorType> scratch(Node node) {
      return biased ? Table.scratch(node.in(8)) : List.of();
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      List<Launch> launches = new ArrayList<>();
      TensorRef table = biased ? Table.of(node.in(8), memory, launches) : null;
      launches.add(memory.launch(call(node, memory, table)));
      return launches;
    }

    private KernelCall call(Node node, Addresses memory, TensorRef table) {
      int sinks = biased ? 10 : 8;
      return dev.caravan.kernels.Attention.backward(
          memory.ref(node.in(0)),
          memory.ref(node.in(1)),
          memory.ref(node.in(2)),
          memory.ref(node.in(3)),
          memory.ref(node.in(6)),
          memory.ref(node.in(7)),
          memory.ref(node.in(4)),
          memory.ref(node.in(5)),
          table,
          sinking ? memory.ref(node.in(sinks)) : null,
          memory.ref(node.out(0)),
          memory.ref(node.out(1)),
          memory.ref(node.out(2)),
          biased ? memory.ref(node.in(9)) : null,
          sinking ? memory.ref(node.in(sinks + 1)) : null,
          options);
    }
  }
}
