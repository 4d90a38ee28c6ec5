package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Attention;
import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.Embedding;
import dev.caravan.kernels.Gather;
import dev.caravan.kernels.TensorRef;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Ops that look up, pick, place or shift whole rows: embedding, gather, cache_append, bias. */
class RowsTest {

  @ParameterizedTest
  @CsvSource({"Float,1,1,1,1", "Float,65,7,33,65", "Float,50,300,64,31", "BFloat16,65,7,33,40"})
  void embedding(ScalarType type, int tokens, int vocab, int width, int rows) {
    Torch.seed(tokens);
    int[] ids = new Random(tokens).ints(tokens, 0, vocab).toArray();
    Tensor table = Torch.randn(type, vocab, width);
    Tensor out = Torch.poisoned(type, tokens, width);
    Ops.run(Embedding.forward(ref(Torch.ints(ids)), ref(table), ref(out)));
    Closeness.same("out", out, table.index_select(0, Torch.index(ids)));
    assertTrue(Torch.guarded(out));

    Tensor dOut = Torch.randn(type, tokens, width);
    dOut.narrow(0, rows, tokens - rows).fill_(Torch.number(Double.NaN));
    Tensor before = Torch.randn(Torch.F32, vocab, width);
    Tensor dTable = Torch.guardedCopy(before);
    TensorRef limit = ref(Torch.ints(rows));
    Ops.run(Embedding.backward(ref(Torch.ints(ids)), ref(dOut), ref(dTable), limit));
    Tensor used = Torch.index(Arrays.copyOf(ids, rows));
    Tensor dUsed = dOut.narrow(0, 0, rows);
    Closeness.SUM.check(
        "d_table",
        dTable,
        before.to(Torch.F64).index_add(0, used, dUsed.to(Torch.F64)),
        before.index_add(0, used, dUsed.to(Torch.F32)));
    assertTrue(Torch.guarded(dTable));
  }

  @ParameterizedTest
  @CsvSource({
    "Float,9,5,4,6,0,3",
    "Float,40,20,17,8,8,33",
    "Float,40,20,17,8,16,64",
    "BFloat16,40,20,20,8,0,1",
    "BFloat16,4,3,0,2,0,5"
  })
  void gather(ScalarType type, int tokens, int n, int count, int chunk, int first, int width) {
    Torch.seed(tokens + first);
    List<Integer> all =
        IntStream.range(0, tokens).boxed().collect(java.util.stream.Collectors.toList());
    Collections.shuffle(all, new Random(tokens));
    int[] rows = all.stream().mapToInt(Integer::intValue).limit(n).toArray();
    int used = Math.max(0, Math.min(chunk, count - first));
    Tensor picked = Torch.index(Arrays.copyOfRange(rows, first, first + used));
    Tensor x = Torch.randn(type, tokens, width);
    Tensor out = Torch.poisoned(type, chunk, width);
    TensorRef limit = ref(Torch.ints(count));
    Ops.run(Gather.forward(ref(x), ref(Torch.ints(rows)), limit, ref(out), first));
    Tensor expected = Torch.zeros(type, chunk, width);
    expected.narrow(0, 0, used).copy_(x.index_select(0, picked));
    Closeness.same("out", out, expected);
    assertTrue(Torch.guarded(out));

    Tensor dOut = Torch.randn(type, chunk, width);
    Tensor dX = Torch.guardedCopy(x);
    limit = ref(Torch.ints(count));
    Ops.run(Gather.backward(ref(dX), ref(Torch.ints(rows)), limit, ref(dOut), first));
    Tensor expectedDx = x.index_copy(0, picked, dOut.narrow(0, 0, used));
    Closeness.same("d_x", dX, expectedDx);
    assertTrue(Torch.guarded(dX));
  }

  @ParameterizedTest
  @CsvSource({"Float,1,1", "Float,65,33", "Float,300,8", "BFloat16,17,129", "BFloat16,300,8"})
  void bias(ScalarType type, long rows, long width) {
    Torch.seed(rows + width);
    Tensor x = Torch.randn(type, rows, width);
    Tensor bias = Torch.randn(type, width);
    Tensor dY = Torch.randn(type, rows, width);
    Torch.Expression expression = in -> in[0].add(in[1]);
    Torch.Traced exact = Torch.trace(Torch.F64, expression, dY, x, bias);
    Torch.Traced plain = Torch.trace(type, expression, dY, x, bias);
    Tensor y = Torch.guardedCopy(x);
    Ops.run(Elementwise.biasForward(ref(y), ref(bias), ref(y)));
    Closeness.ROUNDED_ONCE.check("y", y, exact.value(), plain.value());
    assertTrue(Torch.guarded(y));

    Tensor before = Torch.randn(Torch.F32, width);
    Tensor dBias = Torch.guardedCopy(before);
    Ops.run(Elementwise.biasBackward(ref(dY), ref(dBias)));
    Closeness.SUM.check(
        "d_bias",
        dBias,
        exact.gradient(1).add(before.to(Torch.F64)),
        plain.gradient(1).to(Torch.F32).add(before));
    assertTrue(Torch.guarded(dBias));
  }

  @ParameterizedTest
  @EnumSource(names = {"Float", "BFloat16"})
  void cacheAppend(ScalarType type) {
    Torch.seed(5);
    Tensor before = Torch.randn(type, 9, 2, 5);
    Tensor cache = Torch.guardedCopy(before);
    Tensor x = Torch.randn(type, 3, 2, 5);
    Ops.run(Attention.cacheAppend(ref(x), ref(cache), ref(Torch.ints(6))));
    Tensor expected = before.clone();
    expected.narrow(0, 6, 3).copy_(x);
    Closeness.same("cache", cache, expected);
    assertTrue(Torch.guarded(cache));
  }
}
