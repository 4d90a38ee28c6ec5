package dev.caravan.graph;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.nn.Inputs;
import dev.caravan.ops.Add;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.Bias;
import dev.caravan.ops.Embedding;
import dev.caravan.ops.Glu;
import dev.caravan.ops.LinearCrossEntropy;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.RmsNorm;
import dev.caravan.ops.RmsNormPart;
import dev.caravan.ops.Rope;
import dev.caravan.ops.RowDot;
import dev.caravan.ops.View;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/** Every op that has a gradient, in every setting that takes another path. */
final class OpCases {
  private static final float EPS = 1e-5f;

  private OpCases() {}

  /** All cases. */
  static List<OpCase> all(DType storage) {
    List<Function<Builder, OpCase>> cases = new ArrayList<>();
    cases.addAll(rows());
    cases.addAll(norms());
    cases.addAll(rotations());
    cases.addAll(gates());
    cases.addAll(products());
    cases.addAll(losses());
    cases.addAll(AttentionCases.all());
    cases.addAll(ExpertCases.all());
    if (storage == DType.F32) {
      cases.addAll(AttentionCases.biased());
      cases.addAll(ExpertCases.groups());
      cases.addAll(ExpertCases.balanced());
    }
    return built(cases, storage);
  }

  /** The cases, each of values of its own. */
  static List<OpCase> built(List<Function<Builder, OpCase>> cases, DType storage) {
    List<OpCase> built = new ArrayList<>();
    for (Function<Builder, OpCase> one : cases) {
      built.add(one.apply(new Builder(storage, 71 + built.size())));
    }
    return built;
  }

  private static List<Function<Builder, OpCase>> rows() {
    return List.of(
        b ->
            b.loss(
                "embedding, repeated ids, padding behind",
                5,
                b.one(
                    new Embedding(),
                    b.ints("ids", 3, 1, 3, 0, 3, 3, 2),
                    b.weight("table", 5, 6),
                    b.ints("rows", 5))),
        b -> b.loss("bias", b.one(new Bias(), b.activation("x", 5, 7), b.weight("bias", 7))),
        b -> b.loss("add", b.one(new Add(), b.activation("a", 3, 37), b.activation("b", 3, 37))),
        b -> {
          Tensor x = b.activation("x", 3, 5);
          return b.loss("add of one tensor to itself", b.one(new Add(), x, x));
        },
        b -> {
          Tensor x = b.activation("x", 4, 6);
          Tensor heads = b.one(View.as(4, 3, 2), x);
          return b.loss("view beside the tensor itself", heads, b.one(new Add(), x, x));
        });
  }

  private static List<Function<Builder, OpCase>> norms() {
    return List.of(
        b ->
            b.loss(
                "rmsnorm",
                b.first(new RmsNorm(EPS, false), b.activation("x", 5, 19), b.weight("gain", 19))),
        b ->
            b.loss(
                "rmsnorm per head",
                b.first(new RmsNorm(EPS, false), b.activation("x", 4, 3, 8), b.weight("gain", 8))),
        b -> {
          Tensor x = b.activation("x", 5, 16);
          Tensor y = b.first(new RmsNorm(EPS, false), x, b.weight("gain", 16));
          return b.loss("rmsnorm whose input goes elsewhere, too", b.one(new Add(), x, y));
        },
        b -> {
          Tensor x = b.activation("x", 5, 19);
          return b.loss("rmsnorm of parts", part(b, x, b.weight("gain", 19)));
        },
        b -> {
          Tensor x = b.activation("x", 5, 16);
          Tensor y = part(b, x, b.weight("gain", 16));
          return b.loss("rmsnorm of parts whose input goes elsewhere, too", b.one(new Add(), x, y));
        },
        b -> {
          List<Tensor> made = fused(b);
          return b.loss("rmsnorm fused with the residual add", made.get(0), made.get(2));
        },
        b -> b.loss("rmsnorm fused, its sum unused", fused(b).get(0)),
        b -> b.loss("rmsnorm fused, only its sum used", fused(b).get(2)),
        b -> {
          List<Tensor> made = fused(b);
          Tensor both = b.one(new Add(), made.get(0), made.get(2));
          Tensor y = b.one(MatMul.linear(false, b.storage()), both, b.weight("w", 16, 16));
          return b.loss("rmsnorm fused, its outputs added up", y);
        });
  }

  /** As one rank has it, whose part is the whole. */
  private static Tensor part(Builder b, Tensor x, Tensor weight) {
    Tensor squares =
        b.one(new AllReduce(Axis.TENSOR, 1, false), b.one(new RowDot(), x, x));
    return b.first(new RmsNormPart(EPS, 1), x, weight, squares);
  }

  private static List<Tensor> fused(Builder b) {
    return b.graph()
        .emit(
            new RmsNorm(EPS, true),
            b.activation("x", 6, 16),
            b.weight("gain", 16),
            b.activation("residual", 6, 16));
  }

  private static List<Function<Builder, OpCase>> rotations() {
    return List.of(
        b -> rope(b, "rope by halves", 8, false, false),
        b -> rope(b, "rope interleaved", 8, true, false),
        b -> rope(b, "rope of part of a head", 4, false, false),
        b -> rope(b, "rope interleaved of part of a head", 4, true, false),
        b -> rope(b, "rope backwards", 8, false, true));
  }

  private static OpCase rope(
      Builder b, String name, int rotated, boolean interleaved, boolean reverse) {
    return b.loss(
        name,
        b.one(
            new Rope(interleaved, reverse),
            b.activation("x", 5, 3, 8),
            b.ints("positions", 0, 1, 2, 0, 6),
            b.constant("cos", 7, rotated / 2),
            b.constant("sin", 7, rotated / 2)));
  }

  private static List<Function<Builder, OpCase>> gates() {
    List<Function<Builder, OpCase>> cases = new ArrayList<>();
    for (Glu.Activation activation : Glu.Activation.values()) {
      cases.add(
          b ->
              b.loss(
                  "glu " + activation,
                  b.one(
                      new Glu(activation),
                      b.activation("gate", 5, 37),
                      b.activation("up", 5, 37))));
    }
    cases.add(
        b -> {
          Tensor x = b.activation("x", 5, 37);
          return b.loss("glu of one tensor with itself", b.one(new Glu(Glu.Activation.SILU), x, x));
        });
    return cases;
  }

  private static List<Function<Builder, OpCase>> products() {
    return List.of(
        b ->
            b.loss(
                "linear",
                b.one(
                    MatMul.linear(false, b.storage()),
                    b.activation("x", 5, 7),
                    b.weight("w", 3, 7))),
        b ->
            b.loss(
                "linear on leading rows",
                b.one(
                    MatMul.linear(true, b.storage()),
                    b.activation("x", 9, 7),
                    b.weight("w", 4, 7),
                    b.ints("rows", 6))),
        b ->
            b.loss(
                "linear on no row",
                b.one(
                    MatMul.linear(true, b.storage()),
                    b.activation("x", 5, 7),
                    b.weight("w", 4, 7),
                    b.ints("rows", 0))),
        b -> {
          Tensor x = b.activation("x", 6, 8);
          Tensor rows = b.ints("rows", 5);
          MatMul linear = MatMul.linear(true, b.storage());
          return b.loss(
              "one tensor through three linear layers",
              b.one(linear, x, b.weight("q", 4, 8), rows),
              b.one(linear, x, b.weight("k", 3, 8), rows),
              b.one(linear, x, b.weight("v", 5, 8), rows));
        },
        b -> {
          Tensor w = b.weight("w", 8, 8);
          MatMul linear = MatMul.linear(false, b.storage());
          Tensor x = b.activation("x", 6, 8);
          return b.loss("one weight used twice", b.one(linear, b.one(linear, x, w), w));
        });
  }

  private static List<Function<Builder, OpCase>> losses() {
    return List.of(
        b -> projection(b, "linear cross-entropy in one chunk", 8, false, 0, 3, 4, 7),
        b ->
            projection(
                b, "linear cross-entropy in a chunk larger than the buffer", 16, false, 1, 6),
        b ->
            projection(
                b, "linear cross-entropy in chunks, the last not full", 3, false, 6, 1, 2, 5),
        b -> projection(b, "linear cross-entropy in chunks of one row", 1, false, 2, 7),
        b -> projection(b, "linear cross-entropy, tied to the embedding", 4, true, 0, 1, 3, 4, 6),
        b -> projection(b, "linear cross-entropy without a target", 4, true));
  }

  private static OpCase projection(
      Builder b, String name, int chunk, boolean tied, int... targetRows) {
    int tokens = 8;
    int vocabulary = 11;
    int[] rows = Arrays.copyOf(targetRows, tokens);
    Tensor table = b.weight("table", vocabulary, 6);
    Tensor hidden =
        b.one(
            new Embedding(), b.ints("ids", 1, 9, 3, 3, 0, 10, 5, 2), table, b.ints("rows", tokens));
    b.values().state(1.0 / Math.max(targetRows.length, 1));
    b.one(
        new LinearCrossEntropy(chunk),
        hidden,
        tied ? table : b.weight("output", vocabulary, 6),
        b.ints("target_rows", rows),
        b.ints("target_ids", 4, 0, 10, 3, 3, 9, 1, 2),
        b.ints("targets", targetRows.length),
        b.graph().leaf(Inputs.STATE, TensorType.bytes(Inputs.STATE_BYTES), Role.STATE));
    return b.complete(name);
  }
}
