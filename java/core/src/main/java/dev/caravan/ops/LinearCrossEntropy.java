package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
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
 * <p>Where the weight is a part of the vocabulary, each rank has the logits of its own classes. What a
 * soft-max must know of the others' are three numbers a row, which the ranks gather in each chunk; the
 * gradient of hidden is then one term of a sum over the ranks. Source: Shoeybi et al. 2019, arXiv
 * 1909.08053, section 3, which exchanges a number at a time.
 *
 * @param chunk rows of a chunk
 * @param vocabulary of which the weight is a part
 */
public record LinearCrossEntropy(int chunk, Vocabulary vocabulary) implements Op {
  private static final int HIDDEN = 0;
  private static final int WEIGHT = 1;
  private static final int ROWS = 2;
  private static final int IDS = 3;
  private static final int COUNT = 4;
  private static final int STATE = 5;

  /** Of a row of logits: its maximum, its sum, the target's. */
  private static final int STATISTICS = 3;

  /** With a whole vocabulary. */
  public LinearCrossEntropy(int chunk) {
    this(chunk, Vocabulary.WHOLE);
  }

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
    vocabulary.check("weight", in.get(WEIGHT));
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
    List<Tensor> made = gradients.emit(new Gradient(chunk, vocabulary), inputs);
    gradients.add(node.in(HIDDEN), made.get(1));
    gradients.set(weight, made.get(2));
  }

  @Override
  public List<TensorType> scratch(Node node) {
    return chunkScratch(node, false);
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return chunkLaunches(node, memory, null, null);
  }

  @Override
  public long flops(Node node) {
    return 2 * node.in(ROWS).dim(0) * node.in(WEIGHT).type().elements();
  }

  /** Of all chunks; those behind the last target are left out. */
  @Override
  public long wireBytes(Node node) {
    long chunks = (node.in(ROWS).dim(0) + chunk - 1) / chunk;
    return vocabulary.cut()
        ? chunks
            * Collective.wireBytes(
                Kind.ALL_GATHER, vocabulary.ranks(), statistics().byteSize())
        : 0;
  }

  /** Of a chunk, by all ranks, as one row. */
  private TensorType statistics() {
    return TensorType.f32((long) vocabulary.ranks() * chunk * STATISTICS);
  }

  /**
   * Temporaries of one chunk: hidden rows, logits, with parts of a vocabulary all ranks' statistics, the
   * gradient of the rows, and where weights are bfloat16 the gradient of the logits as the products take
   * it.
   */
  private List<TensorType> chunkScratch(Node node, boolean training) {
    Tensor weight = node.in(WEIGHT);
    DType storage = weight.type().dtype();
    TensorType hidden = new TensorType(storage, chunk, weight.dim(1));
    List<TensorType> scratch = new ArrayList<>();
    scratch.add(hidden);
    scratch.add(TensorType.f32(chunk, weight.dim(0)));
    if (vocabulary.cut()) {
      scratch.add(statistics());
    }
    if (training) {
      scratch.add(hidden);
      if (storage != DType.F32) {
        scratch.add(new TensorType(storage, chunk, weight.dim(0)));
      }
    }
    return scratch;
  }

  private List<Launch> chunkLaunches(
      Node node, Addresses memory, TensorRef dHidden, TensorRef dWeight) {
    TensorRef hidden = memory.scratch(0);
    TensorRef logits = memory.scratch(1);
    TensorRef weight = memory.ref(node.in(WEIGHT));
    TensorRef rows = memory.ref(node.in(ROWS));
    TensorRef count = memory.ref(node.in(COUNT));
    boolean training = dHidden != null;
    boolean narrow = training && weight.dtype() != DType.F32;

    List<Launch> launches = new ArrayList<>();
    int next = vocabulary.cut() ? 3 : 2;
    TensorRef dChunk = training ? memory.scratch(next) : null;
    TensorRef dLogits = narrow ? memory.scratch(next + 1) : logits;
    if (training) {
      launches.add(stream -> stream.fill(dHidden.address(), 0, dHidden.bytes()));
    }
    for (int first = 0; first < node.in(ROWS).dim(0); first += chunk) {
      List<Launch> chunkOnes = new ArrayList<>();
      chunkOnes.add(
          memory.launch(
              Gather.forward(memory.ref(node.in(HIDDEN)), rows, count, hidden, first)));
      chunkOnes.add(memory.launch(product(hidden, false, weight, true, logits, 0)));
      chunkOnes.addAll(crossEntropy(node, memory, logits, first, training));
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

  /** Turns logits into the loss and their gradient. */
  private List<Launch> crossEntropy(
      Node node, Addresses memory, TensorRef logits, long first, boolean training) {
    TensorRef ids = memory.ref(node.in(IDS));
    TensorRef count = memory.ref(node.in(COUNT));
    TensorRef nll = memory.ref(node.out(0));
    TensorRef state = memory.ref(node.in(STATE));
    if (!vocabulary.cut()) {
      return List.of(
          memory.launch(
              CrossEntropy.forward(logits, ids, count, nll, state, first, training)));
    }
    long size = vocabulary.size();
    long begin = vocabulary.first(memory);
    TensorRef all = memory.scratch(2);
    long bytes = (long) chunk * STATISTICS * Float.BYTES;
    TensorRef own =
        TensorRef.of(
            all.address() + memory.rank(Axis.TENSOR) * bytes, DType.F32, chunk, STATISTICS);
    TensorRef sent = TensorRef.of(own.address(), DType.F32, (long) chunk * STATISTICS);
    Collective gather =
        new Collective(Kind.ALL_GATHER, Axis.TENSOR, vocabulary.ranks(), sent, all, 0);
    TensorRef parts =
        TensorRef.of(all.address(), DType.F32, vocabulary.ranks(), chunk, STATISTICS);
    return List.of(
        memory.launch(CrossEntropy.statistics(logits, ids, count, own, first, begin, size)),
        memory.begin(gather, Join.ALL),
        memory.join(Axis.TENSOR, Join.ALL),
        memory.launch(
            CrossEntropy.forwardOfPart(
                logits, ids, count, nll, state, first, training, parts, begin, size)));
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
   * [V, D], added to in place. Outputs: nll f32 [n], d_hidden [T, D], d_weight. With parts of a
   * vocabulary, d_hidden is the rank's term of a sum.
   */
  public record Gradient(int chunk, Vocabulary vocabulary) implements Op {
    /** With a whole vocabulary. */
    public Gradient(int chunk) {
      this(chunk, Vocabulary.WHOLE);
    }

    private LinearCrossEntropy forward() {
      return new LinearCrossEntropy(chunk, vocabulary);
    }

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
      return forward().chunkScratch(node, true);
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return forward()
          .chunkLaunches(node, memory, memory.ref(node.out(1)), memory.ref(node.in(6)));
    }

    @Override
    public long flops(Node node) {
      return 6 * node.in(ROWS).dim(0) * node.in(WEIGHT).type().elements();
    }

    @Override
    public long wireBytes(Node node) {
      return forward().wireBytes(node);
    }
  }
}
