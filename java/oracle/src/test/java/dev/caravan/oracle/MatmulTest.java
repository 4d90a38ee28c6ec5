package dev.caravan.oracle;

import static dev.caravan.oracle.Ops.ref;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.MatMul;
import dev.caravan.kernels.TensorRef;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** matmul in its four orientations, with and without a row count, against PyTorch's. */
class MatmulTest {

  @ParameterizedTest
  @CsvSource({
    "Float,Float,Float,1,1,1,1,0",
    "Float,Float,Float,3,17,5,1,0",
    "Float,Float,Float,1,300,64,1,0",
    "Float,Float,Float,65,33,129,0.5,1",
    "Float,Float,Float,130,64,1,-2,0.25",
    "Float,Float,Float,257,256,255,1,1",
    "BFloat16,BFloat16,BFloat16,1,17,33,1,0",
    "BFloat16,BFloat16,BFloat16,65,130,129,1,1",
    "BFloat16,BFloat16,Float,64,65,63,0.5,1",
    "Float,Float,Float,40,24,9001,1,0.5", // deep: k is split
    "BFloat16,BFloat16,Float,33,40,4100,1,1",
    "Float,Float,Float,8,9000,20,1,0", // few rows, many columns
    "Float,Float,Float,20,7001,33,1,0",
    "Float,BFloat16,Float,9,40,70,1,0",
    "BFloat16,Float,BFloat16,40,9,70,1,0"
  })
  void everyOrientation(
      ScalarType typeA,
      ScalarType typeB,
      ScalarType typeC,
      int m,
      int n,
      int k,
      double alpha,
      double beta) {
    for (int orientation = 0; orientation < 4; orientation++) {
      boolean transposeA = (orientation & 1) != 0;
      boolean transposeB = (orientation & 2) != 0;
      int limit = transposeA ? k : m;
      for (int rows : new int[] {-1, 0, limit / 2, limit}) {
        String what = String.format("transposed a %b, b %b, rows %d", transposeA, transposeB, rows);
        Torch.seed(orientation + 4L * rows);
        Tensor a = transposeA ? Torch.randn(typeA, k, m) : Torch.randn(typeA, m, k);
        Tensor b = transposeB ? Torch.randn(typeB, n, k) : Torch.randn(typeB, k, n);
        Tensor before = Torch.randn(typeC, m, n);
        if (rows >= 0) { // rows not in use hold garbage
          a.narrow(0, rows, limit - rows).fill_(Torch.number(Double.NaN));
        }
        if (rows >= 0 && transposeA && !transposeB) {
          b.narrow(0, rows, limit - rows).fill_(Torch.number(Double.NaN));
        }
        Tensor c = Torch.poisoned(typeC, m, n);
        if (beta != 0 || (rows >= 0 && !transposeA)) {
          c.copy_(before);
        }
        TensorRef limited = rows < 0 ? null : ref(Torch.ints(rows));
        Ops.run(
            MatMul.forward(
                ref(a),
                transposeA,
                ref(b),
                transposeB,
                ref(c),
                limited,
                (float) alpha,
                (float) beta));

        int used = rows < 0 ? limit : rows;
        Product product = new Product(transposeA, transposeB, alpha, beta, used);
        Closeness.SUM.check(
            what, c, product.of(Torch.F64, a, b, before), product.of(typeC, a, b, before));
        assertTrue(Torch.guarded(c), what);
      }
    }
  }

  /** alpha op(a) op(b) + beta c over the rows in use. */
  private record Product(
      boolean transposeA, boolean transposeB, double alpha, double beta, int used) {
    Tensor of(ScalarType type, Tensor a, Tensor b, Tensor c) {
      Tensor left = transposeA ? a.narrow(0, 0, used).transpose(0, 1) : a.narrow(0, 0, used);
      Tensor right = transposeB ? b.transpose(0, 1) : b;
      if (transposeA) {
        right = right.narrow(0, 0, used);
      }
      Tensor product = torch.matmul(left.to(type), right.to(type)).mul(Torch.number(alpha));
      if (transposeA) {
        return product.add(c.to(type).mul(Torch.number(beta)));
      }
      // Rows not in use: 0 when beta is 0, else as they were.
      Tensor out = beta == 0 ? torch.zeros_like(c).to(type) : c.to(type).clone();
      Tensor old = c.narrow(0, 0, used).to(type).mul(Torch.number(beta));
      out.narrow(0, 0, used).copy_(product.add(old));
      return out;
    }
  }
}
