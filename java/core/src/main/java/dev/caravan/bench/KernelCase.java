package dev.caravan.bench;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelCall;

/**
 * One call to be measured.
 *
 * @param op its name in the ABI, with what makes it another case behind it, as in "matmul dW"
 * @param shape for people
 * @param dtype of its tensors
 * @param cost what it has to do at least
 * @param setup prepares it, workspace aside
 */
record KernelCase(String op, String shape, DType dtype, Cost cost, Setup setup) {
  /** Lays the tensors of a call out in a bed. */
  @FunctionalInterface
  interface Setup {
    /** The call, which reads and writes memory of the bed. */
    KernelCall prepare(Bed bed);
  }
}
