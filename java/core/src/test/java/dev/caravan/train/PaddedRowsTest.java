package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.MatMul;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A vendor's library computes rows of padding that our own product leaves out. A training step comes to
 * the same, because the gradient of padding is zero: shown with the CPU's product, once with and once
 * without the limit.
 */
class PaddedRowsTest {
  /** The CPU's product without a limit; what it was asked for is counted. */
  private static final class AllRows implements Products {
    private int limited;

    @Override
    public KernelCall prepare(Product p) {
      limited += p.rows() == null ? 0 : 1;
      return MatMul.forward(
          new Product(
              p.a(), p.transposeA(), p.b(), p.transposeB(), p.c(), null, p.alpha(), p.beta()));
    }

    @Override
    public String library() {
      return "all rows";
    }
  }

  @BeforeAll
  static void products() {
    Blas.install();
  }

  @ParameterizedTest
  @CsvSource({"fp32,true", "bf16,true", "fp32,false"})
  void rowsOfPaddingChangeNothing(String precision, boolean packing) {
    String[] run = {
      "precision=" + precision, "sequence.packing=" + packing, "train.micro_batch_tokens=72"
    };
    AllRows products = new AllRows();
    OneStep limited = OneStep.on(Device.CPU, false, run);
    OneStep all = OneStep.on(Device.CPU, products, false, run);
    assertTrue(products.limited > 20, "products had a limit to leave out");
    assertEquals(limited.loss(), all.loss(), 1e-6 * limited.loss());
    limited
        .gradients()
        .forEach(
            (name, expected) -> {
              double error = OneStep.difference(expected, all.gradients().get(name));
              assertTrue(error <= 1e-6 * OneStep.size(expected), name + ": " + error);
            });
  }
}
