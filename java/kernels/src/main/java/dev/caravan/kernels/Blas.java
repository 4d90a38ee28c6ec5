package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/**
 * The matrix product of CPU ops: OpenBLAS, from its preset, handed to the native library as a
 * function address. It runs on one thread a call; the ops share their work out over their own.
 */
public final class Blas {
  private static boolean installed;

  private Blas() {}

  /**
   * Loads OpenBLAS and hands its single-precision product over; later calls do nothing.
   *
   * @throws UnsatisfiedLinkError if it cannot be loaded
   */
  public static synchronized void install() {
    if (installed) {
      return;
    }
    Native.load();
    Loader.load(openblas_nolapack.class);
    openblas_nolapack.blas_set_num_threads(1);
    Native.check(Caravan.caravan_set_sgemm(Loader.addressof("cblas_sgemm").address()));
    installed = true;
  }
}
