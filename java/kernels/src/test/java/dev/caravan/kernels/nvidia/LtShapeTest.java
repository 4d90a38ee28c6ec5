package dev.caravan.kernels.nvidia;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.TensorRef;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Whether the column-major view of a product, computed as the library would, is the product. */
class LtShapeTest {
  private static final int M = 5;
  private static final int N = 3;
  private static final int K = 4;
  private static final long NOWHERE = 1 << 20;

  private static TensorRef matrix(DType dtype, long address, long rows, long columns, long step) {
    long bytes = ((rows - 1) * step + columns) * dtype.bytes();
    return new TensorRef(
        address, bytes, dtype, new long[] {rows, columns}, new long[] {step, 1});
  }

  private static Product product(boolean transposeA, boolean transposeB, int gap) {
    TensorRef a =
        transposeA
            ? matrix(DType.F32, NOWHERE, K, M, M + gap)
            : matrix(DType.F32, NOWHERE, M, K, K + gap);
    TensorRef b =
        transposeB
            ? matrix(DType.F32, 2 * NOWHERE, N, K, K + gap)
            : matrix(DType.F32, 2 * NOWHERE, K, N, N + gap);
    TensorRef c = matrix(DType.F32, 3 * NOWHERE, M, N, N + gap);
    return new Product(a, transposeA, b, transposeB, c, null, 1, 0);
  }

  /** Element (i, j) of op(x) of a column-major matrix. */
  private static double at(double[] memory, LtShape.Operand x, int i, int j) {
    int row = x.transposed() ? j : i;
    int column = x.transposed() ? i : j;
    assertTrue(row < x.rows() && column < x.columns(), "inside of what is stored");
    return memory[(int) (row + column * x.stride())];
  }

  @ParameterizedTest
  @CsvSource({
    "false,false,0", "false,true,0", "true,false,0", "true,true,0", "false,true,7", "true,false,2"
  })
  void theViewIsTheProduct(boolean transposeA, boolean transposeB, int gap) {
    Product product = product(transposeA, transposeB, gap);
    LtShape shape = LtShape.of(product);
    Random random = new Random(3);
    double[] a = random.doubles(100).toArray();
    double[] b = random.doubles(100).toArray();
    double[] c = new double[100];
    for (int i = 0; i < shape.out().rows(); i++) {
      for (int j = 0; j < shape.out().columns(); j++) {
        double sum = 0;
        for (int k = 0; k < K; k++) {
          sum += at(b, shape.first(), i, k) * at(a, shape.second(), k, j);
        }
        c[(int) (i + j * shape.out().stride())] = sum;
      }
    }
    for (int m = 0; m < M; m++) {
      for (int n = 0; n < N; n++) {
        double expected = 0;
        for (int k = 0; k < K; k++) {
          double left = transposeA ? a[k * (M + gap) + m] : a[m * (K + gap) + k];
          double right = transposeB ? b[n * (K + gap) + k] : b[k * (N + gap) + n];
          expected += left * right;
        }
        assertEquals(expected, c[m * (N + gap) + n], 1e-12);
      }
    }
  }

  @Test
  void theKeyTellsApartWhatTheChoiceDependsOn() {
    String key = LtShape.of(product(false, true, 0)).key();
    assertEquals(key, LtShape.of(product(false, true, 0)).key());
    assertNotEquals(key, LtShape.of(product(false, true, 1)).key());
    Product p = product(false, true, 0);
    TensorRef odd = matrix(DType.F32, NOWHERE + 4, M, K, K);
    Product moved = new Product(odd, false, p.b(), true, p.c(), null, 1, 0);
    assertNotEquals(key, LtShape.of(moved).key());
    Product adding = new Product(p.a(), false, p.b(), true, p.c(), null, 1, 1);
    assertNotEquals(key, LtShape.of(adding).key());
    TensorRef narrow = matrix(DType.BF16, 3 * NOWHERE, M, N, N);
    Product rounding = new Product(p.a(), false, p.b(), true, narrow, null, 1, 0);
    assertNotEquals(key, LtShape.of(rounding).key());
  }

  @Test
  void matricesThatDoNotFitAreRefused() {
    Product p = product(false, true, 0);
    KernelException error =
        assertThrows(
            KernelException.InvalidArgument.class,
            () -> LtShape.of(new Product(p.b(), false, p.b(), true, p.c(), null, 1, 0)));
    assertEquals("matmul: got op(a) [3, 4], op(b) [4, 3], c [5, 3]", error.getMessage());
    TensorRef bytes = TensorRef.of(NOWHERE, DType.U8, M, K);
    assertThrows(
        KernelException.InvalidArgument.class,
        () -> LtShape.of(new Product(bytes, false, p.b(), true, p.c(), null, 1, 0)));
  }
}
