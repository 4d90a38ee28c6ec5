package dev.caravan.bench;

import static dev.caravan.kernels.DType.F32;
import static dev.caravan.kernels.DType.U16;

import dev.caravan.kernels.Adafactor;
import dev.caravan.kernels.Adamw;
import dev.caravan.kernels.Attention;
import dev.caravan.kernels.CrossEntropy;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.Embedding;
import dev.caravan.kernels.Gather;
import dev.caravan.kernels.GlobalNorm;
import dev.caravan.kernels.RmsNorm;
import dev.caravan.kernels.Rope;
import dev.caravan.kernels.Swiglu;
import dev.caravan.kernels.TensorRef;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** Every op of the ABI at the shapes of one block, with what it costs. The order is that of caravan.h. */
final class KernelCases {
  private static final float EPS = 1e-5f;

  private final Dims d;
  private final DType t;
  private final List<KernelCase> cases = new ArrayList<>();

  private KernelCases(Dims d, DType t) {
    this.d = d;
    this.t = t;
  }

  /** All ops at one storage type. */
  static List<KernelCase> of(Dims dims, DType dtype) {
    KernelCases made = new KernelCases(dims, dtype);
    made.products();
    made.rows();
    made.elementwise();
    made.norms();
    made.attention();
    made.gates();
    made.experts();
    made.loss();
    made.optimizers();
    return made.cases;
  }

  private void add(String op, String shape, Cost cost, KernelCase.Setup setup) {
    cases.add(new KernelCase(op, shape, t, cost, setup));
  }

  private static String by(long... extents) {
    StringBuilder text = new StringBuilder();
    for (long extent : extents) {
      text.append(text.length() == 0 ? "" : "x").append(extent);
    }
    return text.toString();
  }

  private Cost elements(double read, double written, double flops) {
    return Cost.elements(t, read, written, flops);
  }

  /** The three products of a linear layer y = x W^T: shape is M x N x K. */
  private void products() {
    long m = d.tokens();
    long n = d.ffn();
    long k = d.width();
    add(
        "matmul",
        by(m, n, k),
        Cost.product(m, n, k, t, t, false),
        bed ->
            bed.product(
                bed.random(t, m, k), false, bed.random(t, n, k), true, bed.output(t, m, n), 0));
    add(
        "matmul dX",
        by(m, k, n),
        Cost.product(m, k, n, t, t, false),
        bed ->
            bed.product(
                bed.random(t, m, n), false, bed.random(t, n, k), false, bed.output(t, m, k), 0));
    add(
        "matmul dW",
        by(n, k, m),
        Cost.product(n, k, m, t, F32, true),
        bed ->
            bed.product(
                bed.random(t, m, n), true, bed.random(t, m, k), false, bed.sum(F32, n, k), 1));
    long rows = d.logitRows();
    long vocab = d.vocab();
    add(
        "matmul logits",
        by(rows, vocab, k),
        Cost.product(rows, vocab, k, t, F32, false),
        bed ->
            bed.product(
                bed.random(t, rows, k),
                false,
                bed.random(t, vocab, k),
                true,
                bed.output(F32, rows, vocab), 0));
    add(
        "matmul one row",
        by(1, n, k),
        Cost.product(1, n, k, t, t, false),
        bed ->
            bed.product(
                bed.random(t, 1, k), false, bed.random(t, n, k), true, bed.output(t, 1, n), 0));
  }

  private void rows() {
    int rows = d.tokens();
    long width = d.width();
    double moved = (double) rows * width;
    String shape = by(rows, width);
    add(
        "embedding",
        shape,
        elements(moved, moved, 0),
        bed ->
            Embedding.forward(
                bed.ids(rows, d.vocab()), bed.random(t, d.vocab(), width), bed.output(t, rows, width)));
    add(
        "embedding bwd",
        shape,
        elements(2 * moved, moved, moved),
        bed ->
            Embedding.backward(
                bed.ids(rows, d.vocab()), bed.random(t, rows, width), bed.sum(t, d.vocab(), width), null));
    add(
        "gather",
        shape,
        elements(moved, moved, 0),
        bed ->
            Gather.forward(
                bed.random(t, rows, width),
                bed.ints(rows, i -> rows - 1 - i),
                bed.ints(1, i -> rows),
                bed.output(t, rows, width),
                0));
    add(
        "gather bwd",
        shape,
        elements(moved, moved, 0),
        bed ->
            Gather.backward(
                bed.output(t, rows, width),
                bed.ints(rows, i -> rows - 1 - i),
                bed.ints(1, i -> rows),
                bed.random(t, rows, width),
                0));
  }

  private void elementwise() {
    long rows = d.tokens();
    long width = d.width();
    double moved = (double) rows * width;
    String shape = by(rows, width);
    add(
        "add",
        shape,
        elements(2 * moved, moved, moved),
        bed ->
            Elementwise.add(
                bed.random(t, rows, width), bed.random(t, rows, width), bed.output(t, rows, width)));
    DType other = t == F32 ? DType.BF16 : F32;
    add(
        "cast",
        shape,
        Cost.bytes(moved * (t.bytes() + other.bytes()), 0),
        bed -> Elementwise.cast(bed.random(t, rows, width), bed.output(other, rows, width)));
    add(
        "bias",
        shape,
        elements(moved, moved, moved),
        bed ->
            Elementwise.biasForward(
                bed.random(t, rows, width), bed.random(t, width), bed.output(t, rows, width)));
    add(
        "bias bwd",
        shape,
        elements(moved, 0, moved),
        bed -> Elementwise.biasBackward(bed.random(t, rows, width), bed.sum(F32, width)));
  }

  private void norms() {
    long rows = d.tokens();
    long width = d.width();
    double moved = (double) rows * width;
    String shape = by(rows, width);
    add(
        "row_dot",
        shape,
        elements(2 * moved, 0, 3 * moved),
        bed ->
            RmsNorm.rowDot(
                bed.random(t, rows, width),
                bed.random(t, rows, width),
                bed.random(t, width),
                bed.output(F32, rows),
                0));
    add(
        "rmsnorm",
        shape,
        elements(moved, moved, 4 * moved),
        bed ->
            RmsNorm.forward(
                bed.random(t, rows, width),
                null,
                bed.random(t, width),
                bed.output(t, rows, width),
                null,
                bed.output(F32, rows),
                EPS,
                0));
    add(
        "rmsnorm + add",
        shape,
        elements(2 * moved, 2 * moved, 5 * moved),
        bed ->
            RmsNorm.forward(
                bed.random(t, rows, width),
                bed.random(t, rows, width),
                bed.random(t, width),
                bed.output(t, rows, width),
                bed.output(t, rows, width),
                bed.output(F32, rows),
                EPS,
                0));
    add(
        "rmsnorm bwd",
        shape,
        elements(2 * moved, moved, 8 * moved),
        bed ->
            RmsNorm.backward(
                bed.random(t, rows, width),
                bed.random(t, rows, width),
                bed.random(t, width),
                bed.ones(F32, rows),
                null,
                bed.output(t, rows, width),
                bed.sum(F32, width),
                0));
    add(
        "rmsnorm part",
        shape,
        elements(moved, moved, 2 * moved),
        bed ->
            RmsNorm.forwardOfPart(
                bed.random(t, rows, width),
                bed.random(t, width),
                bed.ones(F32, rows),
                2 * width,
                bed.output(t, rows, width),
                bed.output(F32, rows),
                EPS,
                0));
    add(
        "rmsnorm part bwd",
        shape,
        elements(2 * moved, moved, 6 * moved),
        bed ->
            RmsNorm.backwardOfPart(
                bed.random(t, rows, width),
                bed.random(t, rows, width),
                bed.random(t, width),
                bed.ones(F32, rows),
                bed.ones(F32, rows),
                2 * width,
                null,
                bed.output(t, rows, width),
                bed.sum(F32, width),
                0));
    rope("rope", false);
    rope("rope bwd", true);
  }

  private void rope(String op, boolean backward) {
    int tokens = d.tokens();
    long heads = d.heads();
    long n = d.headDim();
    double moved = (double) tokens * heads * n;
    add(
        op,
        by(tokens, heads, n),
        elements(moved, moved, 3 * moved),
        bed -> {
          TensorRef in = bed.random(t, tokens, heads, n);
          TensorRef out = bed.output(t, tokens, heads, n);
          TensorRef positions = bed.ints(tokens, i -> i);
          TensorRef cos = bed.random(F32, tokens, n / 2);
          TensorRef sin = bed.random(F32, tokens, n / 2);
          return backward
              ? Rope.backward(in, out, positions, cos, sin, Rope.Layout.HALF)
              : Rope.forward(in, out, positions, cos, sin, Rope.Layout.HALF);
        });
  }

  /**
   * One document as long as the buffer, causal; decoding has one query behind it. Shape is tokens, query heads
   * over key heads, elements.
   */
  private void attention() {
    long tokens = d.tokens();
    String shape = tokens + " " + d.heads() + "/" + d.kvHeads() + "x" + d.headDim();
    add(
        "attention",
        shape,
        Cost.attention(tokens, d.heads(), d.kvHeads(), d.headDim(), t, false),
        bed -> new Heads(bed, d, t).forward());
    add(
        "attention bwd",
        shape,
        Cost.attention(tokens, d.heads(), d.kvHeads(), d.headDim(), t, true),
        bed -> new Heads(bed, d, t).backward());
    double moved = (double) tokens * d.kvHeads() * d.headDim();
    double query = (double) d.heads() * d.headDim();
    add(
        "attention decode",
        shape,
        elements(2 * moved + query, query, 4 * tokens * query),
        bed -> new Heads(bed, d, t).decode());
    add(
        "cache_append",
        by(tokens, d.kvHeads(), d.headDim()),
        elements(moved, moved, 0),
        bed ->
            Attention.cacheAppend(
                bed.random(t, tokens, d.kvHeads(), d.headDim()),
                bed.output(t, tokens, d.kvHeads(), d.headDim()),
                bed.ints(1, i -> 0)));
  }

  private void gates() {
    long rows = d.tokens();
    long ffn = d.ffn();
    double moved = (double) rows * ffn;
    String shape = by(rows, ffn);
    add(
        "swiglu",
        shape,
        elements(2 * moved, moved, 4 * moved),
        bed ->
            Swiglu.forward(
                bed.random(t, rows, ffn), bed.random(t, rows, ffn), bed.output(t, rows, ffn)));
    add(
        "swiglu bwd",
        shape,
        elements(3 * moved, 2 * moved, 10 * moved),
        bed ->
            Swiglu.backward(
                bed.random(t, rows, ffn),
                bed.random(t, rows, ffn),
                bed.random(t, rows, ffn),
                bed.output(t, rows, ffn),
                bed.output(t, rows, ffn)));
    add(
        "geglu",
        shape,
        elements(2 * moved, moved, 8 * moved),
        bed ->
            Swiglu.gegluForward(
                bed.random(t, rows, ffn), bed.random(t, rows, ffn), bed.output(t, rows, ffn), true));
    add(
        "geglu bwd",
        shape,
        elements(3 * moved, 2 * moved, 14 * moved),
        bed ->
            Swiglu.gegluBackward(
                bed.random(t, rows, ffn),
                bed.random(t, rows, ffn),
                bed.random(t, rows, ffn),
                bed.output(t, rows, ffn),
                bed.output(t, rows, ffn),
                true));
  }

  /** A sparse layer as wide as the dense one for each token. Shape is tokens, choices/experts, columns. */
  private void experts() {
    double tokens = d.tokens();
    double rows = d.expertRows();
    double width = d.width();
    double ffn = d.expertFfn();
    double e = d.experts();
    double word = Integer.BYTES;
    String routed = d.tokens() + " " + d.choices() + "/" + d.experts();
    add(
        "router",
        routed,
        Cost.bytes(word * (tokens * e + 2 * rows), 5 * tokens * e),
        bed -> new Routed(bed, d, t).router());
    add(
        "router bwd",
        routed,
        Cost.bytes(word * (2 * tokens * e + 4 * rows), 6 * tokens * e),
        bed -> new Routed(bed, d, t).routerBackward());
    add(
        "balance",
        by(1, d.experts()),
        Cost.bytes(word * 5 * e + 2 * Double.BYTES * e, 4 * e),
        bed -> new Routed(bed, d, t).balance());
    add(
        "expert_sort",
        routed,
        Cost.bytes(word * (3 * rows + e), 0),
        bed -> new Routed(bed, d, t).sort());
    double places = (double) Routed.DEVICES * Routed.places(d);
    add(
        "expert_places",
        routed,
        Cost.bytes(word * (4 * rows + 3 * places + e), 0),
        bed -> new Routed(bed, d, t).places());
    String wide = routed + "x" + 2 * d.expertFfn();
    add(
        "grouped_matmul",
        wide,
        Cost.grouped(rows, 2 * ffn, width, e, tokens * width + rows * 3 * ffn, t, false),
        bed -> new Routed(bed, d, t).product());
    add(
        "grouped_matmul dH",
        routed + "x" + d.expertFfn(),
        Cost.grouped(rows, width, ffn, e, tokens * width + rows * 5 * ffn, t, false),
        bed -> new Routed(bed, d, t).productBackward());
    add(
        "grouped_outer",
        wide,
        Cost.grouped(rows, 2 * ffn, width, e, tokens * width + rows * 2 * ffn, t, true),
        bed -> new Routed(bed, d, t).outer());
    add(
        "combine",
        routed + "x" + d.width(),
        elements((rows + tokens) * width, 0, 2 * rows * width),
        bed -> new Routed(bed, d, t).combine());
  }

  private void loss() {
    int rows = d.logitRows();
    double logits = (double) rows * d.vocab();
    add(
        "cross_entropy",
        by(rows, d.vocab()),
        elements(logits, logits, 4 * logits),
        bed ->
            CrossEntropy.forward(
                bed.random(t, rows, d.vocab()),
                bed.ids(rows, d.vocab()),
                bed.ints(1, i -> rows),
                bed.output(F32, rows),
                bed.state(),
                0,
                true));
    add(
        "class_statistics",
        by(rows, d.vocab()),
        elements(logits, 0, 3 * logits),
        bed ->
            CrossEntropy.statistics(
                bed.random(t, rows, d.vocab()),
                bed.ids(rows, d.vocab()),
                bed.ints(1, i -> rows),
                bed.output(F32, rows, 3),
                0,
                0,
                d.vocab()));
  }

  /** Parameters in the storage type, bfloat16 ones with their remainders; gradients and moments float32. */
  private void optimizers() {
    int n = d.parameters();
    double remainder = t == F32 ? 0 : 2.0 * U16.bytes();
    add(
        "global_norm",
        by(n),
        elements(n, 0, 2.0 * n),
        bed -> GlobalNorm.forward(bed.random(t, n), bed.state()));
    add(
        "adamw",
        by(n),
        Cost.bytes(n * (2.0 * t.bytes() + remainder + 5.0 * F32.bytes()), 12.0 * n),
        bed ->
            Adamw.step(
                bed.random(t, n),
                t == F32 ? null : bed.sum(U16, n),
                bed.random(F32, n),
                bed.sum(F32, n),
                bed.sum(F32, n),
                bed.bytes(segment(n)),
                bed.state(),
                0.9f,
                0.95f,
                1e-8f,
                0.1f));
    long rows = d.ffn();
    long cols = d.width();
    double elements = (double) rows * cols;
    add(
        "adafactor",
        by(rows, cols),
        Cost.bytes(elements * (2.0 * t.bytes() + remainder + F32.bytes()), 10 * elements),
        bed ->
            Adafactor.step(
                bed.random(t, rows, cols),
                t == F32 ? null : bed.sum(U16, rows, cols),
                bed.random(F32, rows, cols),
                bed.sum(F32, rows),
                bed.sum(F32, cols),
                null,
                null,
                bed.state(),
                new Adafactor.Options(0, 0.8f, 1e-30f, 1e-3f, 1, 0, false)));
  }

  private static ByteBuffer segment(int count) {
    ByteBuffer table =
        ByteBuffer.allocate(Math.toIntExact(Adamw.segmentBytes(1))).order(ByteOrder.nativeOrder());
    Adamw.putSegments(table, List.of(new Adamw.Segment(0, count, 1)));
    return table.flip();
  }
}
