package dev.caravan.ops;

import dev.caravan.kernels.CrossEntropy;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Gather;
import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * The output projection with cross-entropy, over rows that carry a target only, in chunks, so that the
 * logits never exist whole. Inputs: hidden [T, D], weight [V, D], target rows i32 [n], target ids i32
 * [n], count i32 [1], step state. Output: nll f32 [n], nats, per target.
 *
 * <p>Its gradient is made in the forward sweep, chunk by chunk (product, cross-entropy in place, product
 * to d_hidden, product added to d_weight): three products, nothing kept, nothing computed twice. So in
 * training {@link Gradient} stands in its place.
 *
 * @param chunk rows of a chunk
 */
public record LinearCrossEntropy(int chunk) implements Op {
  private static final int HIDDEN = 0;
  private static final int WEIGHT = 1;
  private static final int ROWS = 2;
  private static final int IDS = 3;
  private static final int COUNT = 4;
  private static final int STATE = 5;

  @Override
  public String name() {
    return "linear_cross_entropy";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("weight", in.get(WEIGHT), Shapes.ANY, Shapes.ANY);
    Shapes.need("hidden", in.get(HIDDEN), Shapes.ANY, in.get(WEIGHT).dim(1));
    Shapes.need("rows", in.get(ROWS), Shapes.ANY);
    Shapes.need("ids", in.get(IDS), in.get(ROWS).dim(0));
    Shapes.need("count", in.get(COUNT), 1);
    Shapes.that(chunk >= 1, "got chunks of " + chunk + " rows, needs at least 1");
    return List.of(TensorType.f32(in.get(IDS).dim(0)));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor weight = node.in(WEIGHT);
    Tensor[] inputs = new Tensor[7];
    for (int i = 0; i < 6; i++) {
      inputs[i] = node.in(i);
    }
    inputs[6] = gradients.owned(weight);
    List<Tensor> made = gradients.emit(new Gradient(chunk), inputs);
    gradients.add(node.in(HIDDEN), made.get(1));
    gradients.set(weight, made.get(2));
  }

  @Override
  public List<TensorType> scratch(Node node) {
    return chunkScratch(node, chunk, false);
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return chunkLaunches(node, memory, chunk, null, null);
  }

  @Override
  public long flops(Node node) {
    return 2 * node.in(ROWS).dim(0) * node.in(WEIGHT).type().elements();
  }

  /**
   * Temporaries of one chunk: hidden rows, logits, the gradient of the rows, and where weights are
   * bfloat16 the gradient of the logits as the products take it.
   */
  private static List<TensorType> chunkScratch(Node node, int chunk, boolean training) {
    Tensor weight = node.in(WEIGHT);
    DType storage = weight.type().dtype();
    TensorType hidden = new TensorType(storage, chunk, weight.dim(1));
    TensorType logits = TensorType.f32(chunk, weight.dim(0));
    if (!training) {
      return List.of(hidden, logits);
    }
    return storage == DType.F32
        ? List.of(hidden, logits, hidden)
        : List.of(hidden, logits, hidden, new TensorType(storage, chunk, weight.dim(0)));
  }

  private static List<Launch> chunkLaunches(
      Node node, Addresses memory, int chunk, TensorRef dHidden, TensorRef dWeight) {
    TensorRef hidden = memory.scratch(0);
    TensorRef logits = memory.scratch(1);
    TensorRef weight = memory.ref(node.in(WEIGHT));
    TensorRef rows = memory.ref(node.in(ROWS));
    TensorRef count = memory.ref(node.in(COUNT));
    boolean training = dHidden != null;
    boolean narrow = training && weight.dtype() != DType.F32;

    List<Launch> launches = new ArrayList<>();
    TensorRef dChunk = training ? memory.scratch(2) : null;
    TensorRef dLogits = narrow ? memory.scratch(3) : logits;
    if (training) {
      launches.add(stream -> stream.fill(dHidden.address(), 0, dHidden.bytes()));
    }
    for (int first = 0; first < node.in(ROWS).dim(0); first += chunk) {
      List<Launch> chunkOnes = new ArrayList<>();
      chunkOnes.add(
          memory.launch(
              Gather.forward(memory.ref(node.in(HIDDEN)), rows, count, hidden, first)));
      chunkOnes.add(memory.launch(product(hidden, false, weight, true, logits, 0)));
      chunkOnes.add(
          memory.launch(
              CrossEntropy.forward(
                  logits,
                  memory.ref(node.in(IDS)),
                  count,
                  memory.ref(node.out(0)),
                  memory.ref(node.in(STATE)),
                  first,
                  training)));
      if (narrow) {
        chunkOnes.add(memory.launch(Elementwise.cast(logits, dLogits)));
      }
      if (training) {
        chunkOnes.add(memory.launch(product(dLogits, false, weight, false, dChunk, 0)));
        chunkOnes.add(memory.launch(product(dLogits, true, hidden, false, dWeight, 1)));
        chunkOnes.add(memory.launch(Gather.backward(dHidden, rows, count, dChunk, first)));
      }
      for (Launch launch : chunkOnes) {
        launches.add(launch.above(first)); // a chunk behind the last target is not run at all
      }
    }
    return launches;
  }

  private static Product product(
      TensorRef a,
      boolean transposeA,
      TensorRef b,
      boolean transposeB,
      TensorRef c,
      float beta) {
    return new Product(a, transposeA, b, transposeB, c, null, 1, beta);
  }

  /**
   * The loss with its gradient, divided by the step's target tokens. Inputs: as above, and d_weight f32
   * [V, D], added to in place. Outputs: nll f32 [n], d_hidden [T, D], d_weight.
   */
  public record Gradient(int chunk) implements Op {
    @Override
    public String name() {
      return "linear_cross_entropy_gradient";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(
          TensorType.f32(in.get(IDS).dim(0)), in.get(HIDDEN).type(), in.get(6).type());
    }

    @Override
    public int inPlace(int output) {
      return output == 2 ? 6 : NO_ALIAS;
    }

    @Override
    public List<TensorType> scratch(Node node) {
      return chunkScratch(node, chunk, true);
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return chunkLaunches(
          node, memory, chunk, memory.ref(node.out(1)), memory.ref(node.in(6)));
    }

    @Override
    public long flops(Node node) {
      return 6 * node.in(ROWS).dim(0) * node.in(WEIGHT).type().elements();
    }
  }
}
