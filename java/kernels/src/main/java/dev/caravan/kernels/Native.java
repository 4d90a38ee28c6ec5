package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import org.bytedeco.javacpp.Loader;

/**
 * Loads the native library once, checks that it is the one this code was built for, maps statuses.
 */
public final class Native {
  private static final UnsatisfiedLinkError FAILURE = tryLoad();

  private Native() {}

  /**
   * Loads the library; later calls cost nothing.
   *
   * @throws UnsatisfiedLinkError if it is absent, cannot be loaded, or has another ABI version
   */
  public static void load() {
    if (FAILURE != null) {
      throw FAILURE;
    }
  }

  /** The ABI version of the loaded library. */
  public static int abiVersion() {
    load();
    return Caravan.caravan_abi_version();
  }

  private static UnsatisfiedLinkError tryLoad() {
    try {
      Loader.load(Caravan.class);
      checkVersion(Caravan.caravan_abi_version(), Caravan.CARAVAN_ABI_VERSION);
      return null;
    } catch (UnsatisfiedLinkError error) {
      return error;
    }
  }

  static void checkVersion(int library, int binding) {
    if (library != binding) {
      throw new UnsatisfiedLinkError(
          "libcaravan.so has ABI version "
              + library
              + ", this binding needs "
              + binding
              + ": rebuild them together");
    }
  }

  /** Throws the exception of a status other than CARAVAN_OK, with this thread's last error. */
  static void check(int status) {
    if (status != Caravan.CARAVAN_OK) {
      throw KernelException.of(status, lastError());
    }
  }

  /** The last failure of the calling thread, "" if none. */
  static String lastError() {
    return Caravan.caravan_last_error().getString();
  }
}
