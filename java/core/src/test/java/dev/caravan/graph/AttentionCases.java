package dev.caravan.graph;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.Attention.Options;
import dev.caravan.ops.Attention;
import dev.caravan.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Attention in every setting. */
final class AttentionCases {
  private static final float SCALE = 0.4f;
  private static final int[] PACKED = {0, 4, 4, 9, 10, 10, 10};

  private AttentionCases() {}

  static List<Function<Builder, OpCase>> all() {
    Options causal = Options.causal(SCALE);
    Options full = Options.full(SCALE);
    Options capped = new Options(SCALE, 1.5f, true, -1, -1, false, 0);
    return List.of(
        b -> packed(b, "attention, causal", causal, 2, 2),
        b -> packed(b, "attention, causal, grouped heads", causal, 4, 2),
        b -> packed(b, "attention, causal, one key head", causal, 3, 1),
        b -> packed(b, "attention, full", full, 2, 1),
        b -> packed(b, "attention, window", causal.window(2), 4, 2),
        b -> packed(b, "attention, window of the token itself", causal.window(0), 2, 1),
        b ->
            packed(
                b,
                "attention, window on both sides",
                new Options(SCALE, 0, false, 1, 2, false, 0),
                2,
                2),
        b -> packed(b, "attention, soft cap", capped, 4, 2),
        b -> oneDocument(b, "attention, fewer queries than keys", causal, 3, 8),
        b -> oneDocument(b, "attention, more queries than keys", causal, 8, 3),
        b -> oneDocument(b, "attention, other lengths, full", full, 3, 8),
        b -> shared(b, causal));
  }

  private static OpCase packed(Builder b, String name, Options options, int heads, int keyHeads) {
    int tokens = 12; // two rows of padding behind the documents
    Tensor documents = b.ints("documents", PACKED);
    return attention(b, name, options, heads, keyHeads, tokens, tokens, documents, documents);
  }

  private static OpCase oneDocument(
      Builder b, String name, Options options, int queries, int keys) {
    return attention(
        b, name, options, 4, 2, queries, keys, b.ints("cu_q", 0, queries), b.ints("cu_k", 0, keys));
  }

  private static OpCase attention(
      Builder b,
      String name,
      Options options,
      int heads,
      int keyHeads,
      int queries,
      int keys,
      Tensor cuQ,
      Tensor cuK) {
    return b.loss(
        name,
        b.first(
            new Attention(options, false),
            b.activation("q", queries, heads, 6),
            b.activation("k", keys, keyHeads, 6),
            b.activation("v", keys, keyHeads, 5),
            cuQ,
            cuK));
  }

  /** Queries, keys and values are one tensor: three gradients meet. */
  private static OpCase shared(Builder b, Options options) {
    Tensor x = b.activation("x", 12, 2, 6);
    Tensor documents = b.ints("documents", PACKED);
    return b.loss(
        "attention of a tensor to itself",
        b.first(new Attention(options, false), x, x, x, documents, documents));
  }

  /**
   * A relative-position table, and sinks. They are float32 whatever the storage, so these cases are
   * of float32 only.
   */
  static List<Function<Builder, OpCase>> biased() {
    Options decoder = new Options(SCALE, 0, true, -1, -1, false, 6);
    Options encoder = new Options(1, 0, false, -1, -1, true, 6);
    Options capped = new Options(SCALE, 1.5f, false, 3, 3, true, 6);
    return List.of(
        b -> biased(b, "attention, relative positions before the query", decoder),
        b -> biased(b, "attention, relative positions on both sides", encoder),
        b -> biased(b, "attention, relative positions, soft cap, window", capped),
        b -> sinking(b, "attention, sinks", Options.causal(SCALE), false),
        b -> sinking(b, "attention, sinks and relative positions", decoder, true));
  }

  private static OpCase sinking(Builder b, String name, Options options, boolean biased) {
    Tensor documents = b.ints("documents", PACKED);
    List<Tensor> inputs =
        new ArrayList<>(
            List.of(
                b.activation("q", 12, 4, 6),
                b.activation("k", 12, 2, 6),
                b.activation("v", 12, 2, 5),
                documents,
                documents));
    if (biased) {
      inputs.add(b.weight("table", 8, 4));
    }
    inputs.add(b.weight("sinks", 4));
    return b.loss(
        name, b.first(new Attention(options, biased, true), inputs.toArray(Tensor[]::new)));
  }

  private static OpCase biased(Builder b, String name, Options options) {
    Tensor documents = b.ints("documents", PACKED);
    return b.loss(
        name,
        b.first(
            new Attention(options, true),
            b.activation("q", 12, 4, 6),
            b.activation("k", 12, 2, 6),
            b.activation("v", 12, 2, 5),
            documents,
            documents,
            b.weight("table", 8, 4)));
  }
}
