package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

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

/** Ops that look up, pick or place whole rows: embedding and gather. */
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
}
