package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Attention;
import dev.caravan.oracle.ComposedAttention.Documents;
import dev.caravan.oracle.ComposedAttention.Options;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Fused attention, forward and backward, against scores and soft-max composed in PyTorch. */
class AttentionTest {

  /**
   * One call.
   *
   * @param type of q, k, v and the outputs
   * @param documents lengths of queries and keys
   * @param tail rows of the buffers behind the last document
   * @param heads query heads
   * @param kvHeads key and value heads
   * @param width of a query and key head
   * @param valueWidth of a value head
   * @param options everything else
   */
  record Case(
      ScalarType type,
      Documents documents,
      int tail,
      int heads,
      int kvHeads,
      int width,
      int valueWidth,
      Options options) {}

  static Stream<Case> cases() {
    Options causal = Options.CAUSAL;
    Options full = Options.FULL;
    return Stream.of(Torch.F32, Torch.BF16)
        .flatMap(
            type ->
                Stream.of(
                    // single tokens, and a document of each size around the usual tiles
                    new Case(type, Documents.of(1), 0, 1, 1, 1, 1, causal),
                    new Case(type, Documents.of(3), 2, 2, 1, 8, 8, causal),
                    new Case(type, Documents.of(17), 0, 4, 2, 16, 16, causal),
                    new Case(type, Documents.of(31, 32, 33), 5, 2, 2, 64, 64, causal),
                    new Case(type, Documents.of(63, 64, 65), 0, 4, 1, 64, 64, causal),
                    new Case(type, Documents.of(129), 3, 2, 1, 128, 128, causal),
                    new Case(type, Documents.of(260), 0, 1, 1, 32, 32, causal),
                    // empty documents, first, last and in a row
                    new Case(type, Documents.of(0, 5, 0, 0, 1, 40, 0), 4, 3, 1, 24, 24, causal),
                    new Case(type, Documents.of(0, 0), 6, 2, 1, 8, 8, causal),
                    // heads: grouped 8 to 1, 6 to 3; widths that no vector divides; 192/128
                    new Case(type, Documents.of(40, 9), 0, 8, 1, 12, 12, causal),
                    new Case(type, Documents.of(20), 0, 6, 3, 7, 7, causal),
                    new Case(type, Documents.of(70), 0, 2, 1, 192, 128, causal),
                    new Case(type, Documents.of(33), 0, 1, 1, 256, 256, causal),
                    // one query behind many keys, as decoding has it
                    new Case(
                        type,
                        new Documents(List.of(1), List.of(700)),
                        0,
                        8,
                        2,
                        64,
                        64,
                        causal.window(300, -1).capped(20)),
                    // as many queries as decoding takes at once, and one more
                    new Case(
                        type,
                        new Documents(List.of(16, 17), List.of(90, 300)),
                        0,
                        6,
                        3,
                        20,
                        12,
                        causal),
                    // full, and queries and keys of different number: cached keys, cross-attention
                    new Case(type, Documents.of(40, 3), 0, 2, 2, 16, 16, full),
                    new Case(
                        type,
                        new Documents(List.of(1, 7), List.of(50, 7)),
                        0,
                        4,
                        2,
                        16,
                        16,
                        causal),
                    new Case(
                        type, new Documents(List.of(5, 3), List.of(3, 0)), 1, 2, 1, 8, 8, causal),
                    new Case(
                        type,
                        new Documents(List.of(9, 0, 4), List.of(21, 5, 66)),
                        0,
                        2,
                        1,
                        8,
                        8,
                        full),
                    // windows
                    new Case(type, Documents.of(70, 9), 0, 2, 1, 16, 16, causal.window(15, -1)),
                    new Case(type, Documents.of(70), 0, 2, 1, 16, 16, causal.window(1, -1)),
                    new Case(type, Documents.of(70), 0, 2, 1, 16, 16, full.window(5, 2)),
                    new Case(type, Documents.of(150), 0, 1, 1, 16, 16, causal.window(64, 0)),
                    // a cap on the scores; an unusual scale
                    new Case(type, Documents.of(50, 17), 0, 2, 1, 16, 16, causal.capped(2.5)),
                    new Case(type, Documents.of(50), 0, 2, 1, 16, 16, full.scaled(1.0)),
                    // relative-position bias
                    new Case(type, Documents.of(50, 17), 0, 4, 4, 16, 16, causal.biased(32, 128)),
                    new Case(type, Documents.of(200), 0, 2, 2, 8, 8, full.biased(32, 128)),
                    new Case(
                        type,
                        new Documents(List.of(9), List.of(70)),
                        0,
                        2,
                        2,
                        8,
                        8,
                        full.biased(8, 20)),
                    new Case(
                        type,
                        Documents.of(60, 0, 4),
                        2,
                        4,
                        2,
                        16,
                        16,
                        causal.window(20, -1).capped(3).biased(16, 40)),
                    // sinks: with rows that see no key, windows and everything else; decoding
                    new Case(type, Documents.of(70, 9), 3, 4, 2, 64, 64, causal.sinking()),
                    new Case(
                        type,
                        new Documents(List.of(5, 3, 20), List.of(3, 0, 9)),
                        0,
                        2,
                        1,
                        16,
                        16,
                        causal.sinking()),
                    new Case(
                        type,
                        new Documents(List.of(1), List.of(300)),
                        0,
                        8,
                        2,
                        64,
                        64,
                        causal.window(127, -1).sinking()),
                    new Case(
                        type,
                        Documents.of(60, 0, 4),
                        2,
                        4,
                        2,
                        16,
                        16,
                        full.window(20, 3).capped(3).biased(16, 40).sinking())));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void forwardAndBackward(Case c) {
    Torch.seed(c.toString().hashCode());
    Documents documents = c.documents();
    long tq = documents.queryRows() + c.tail();
    long tk = documents.keyRows() + c.tail();
    Tensor q = Torch.randn(c.type(), tq, c.heads(), c.width());
    Tensor k = Torch.randn(c.type(), tk, c.kvHeads(), c.width());
    Tensor v = Torch.randn(c.type(), tk, c.kvHeads(), c.valueWidth());
    Tensor dOut = Torch.randn(c.type(), tq, c.heads(), c.valueWidth());
    boolean biased = c.options().buckets() > 0;
    Tensor table = Torch.randn(Torch.F32, Math.max(1, c.options().buckets()), c.heads());
    Tensor sinks = Torch.randn(Torch.F32, c.heads());
    ComposedAttention composed = new ComposedAttention(documents, c.options(), c.width());
    Torch.Traced exact = Torch.trace(Torch.F64, composed::out, dOut, q, k, v, table, sinks);
    Torch.Traced plain = Torch.trace(c.type(), composed::out, dOut, q, k, v, table, sinks);

    Tensor out = Torch.poisoned(c.type(), tq, c.heads(), c.valueWidth());
    Tensor lse = Torch.poisoned(Torch.F32, c.heads(), tq);
    Attention.Options options =
        new Attention.Options(
            (float) c.options().scale(c.width()),
            (float) c.options().softCap(),
            c.options().causal(),
            c.options().left(),
            c.options().right(),
            biased && !c.options().causal(),
            c.options().maxDistance());
    Ops.run(
        Attention.forward(
            ref(q),
            ref(k),
            ref(v),
            ref(out),
            ref(lse),
            ref(Torch.ints(documents.cuQueries())),
            ref(Torch.ints(documents.cuKeys())),
            biased ? ref(table) : null,
            c.options().sinks() ? ref(sinks) : null,
            options));
    Closeness.SOFTMAX.check("out", out, exact.value(), plain.value());
    long rows = documents.queryRows();
    Closeness.SOFTMAX.check(
        "lse",
        lse.narrow(1, 0, rows),
        composed.lse(
            q.to(Torch.F64), k.to(Torch.F64), table.to(Torch.F64), sinks.to(Torch.F64)),
        composed.lse(q.to(Torch.F32), k.to(Torch.F32), table, sinks));
    assertTrue(Torch.guarded(out) && Torch.guarded(lse));

    Tensor dQ = Torch.poisoned(c.type(), tq, c.heads(), c.width());
    Tensor dK = Torch.poisoned(c.type(), tk, c.kvHeads(), c.width());
    Tensor dV = Torch.poisoned(c.type(), tk, c.kvHeads(), c.valueWidth());
    Tensor before = Torch.randn(Torch.F32, table.size(0), c.heads());
    Tensor dTable = Torch.guardedCopy(before);
    Tensor sinksBefore = Torch.randn(Torch.F32, c.heads());
    Tensor dSinks = Torch.guardedCopy(sinksBefore);
    Ops.run(
        Attention.backward(
            ref(dOut),
            ref(q),
            ref(k),
            ref(v),
            ref(out),
            ref(lse),
            ref(Torch.ints(documents.cuQueries())),
            ref(Torch.ints(documents.cuKeys())),
            biased ? ref(table) : null,
            c.options().sinks() ? ref(sinks) : null,
            ref(dQ),
            ref(dK),
            ref(dV),
            biased ? ref(dTable) : null,
            c.options().sinks() ? ref(dSinks) : null,
            options));
    Closeness.SOFTMAX.check("d_q", dQ, exact.gradient(0), plain.gradient(0));
    Closeness.SOFTMAX.check("d_k", dK, exact.gradient(1), plain.gradient(1));
    Closeness.SOFTMAX.check("d_v", dV, exact.gradient(2), plain.gradient(2));
    if (biased) {
      Closeness.SOFTMAX.check(
          "d_bias_table",
          dTable,
          exact.gradient(3).add(before.to(Torch.F64)),
          plain.gradient(3).to(Torch.F32).add(before));
    }
    assertTrue(Torch.guarded(dQ) && Torch.guarded(dK) && Torch.guarded(dV));
    if (c.options().sinks()) {
      Closeness.SOFTMAX.check(
          "d_sinks",
          dSinks,
          exact.gradient(4).add(sinksBefore.to(Torch.F64)),
          plain.gradient(4).to(Torch.F32).add(sinksBefore));
    }
    assertTrue(Torch.guarded(dTable) && Torch.guarded(dSinks));
  }
}
