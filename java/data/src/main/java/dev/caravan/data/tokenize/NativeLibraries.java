package dev.caravan.data.tokenize;

import dev.caravan.data.UserError;
import java.nio.file.Path;

/**
 * Sets up the native libraries behind DJL's bindings, and tells their failures from those of a
 * tokenizer file.
 */
final class NativeLibraries {
  static {
    // Read by DJL when it loads a library: never look for a CUDA flavour, never go to the network.
    setIfAbsent("RUST_FLAVOR", "cpu");
    setIfAbsent("ai.djl.offline", "true");
    setIfAbsent("OPT_OUT_TRACKING", "true");
  }

  private NativeLibraries() {}

  /** Makes sure that DJL is set up; to be called before its first class is used. */
  static void configure() {
    // The work is done by the static block above.
  }

  /** The version of the library that a class of DJL's comes with, as far as its jar tells. */
  static String version(Class<?> binding) {
    return String.valueOf(binding.getPackage().getImplementationVersion());
  }

  /**
   * The error to show when DJL could not open a tokenizer: about its library if that could not be
   * loaded, else about the file.
   *
   * @param kind what the file should be
   */
  static UserError refusal(Path file, String kind, Throwable e) {
    boolean whileLoading = e instanceof LinkageError;
    Throwable root = e;
    for (Throwable at = e; at != null; at = at.getCause()) {
      root = at;
      for (StackTraceElement frame : at.getStackTrace()) {
        whileLoading |= frame.getClassName().endsWith(".jni.LibUtils");
      }
    }
    String reason = String.valueOf(root.getMessage()).lines().findFirst().orElse("");
    if (whileLoading) {
      return new UserError(
          "the library for a "
              + kind
              + " cannot be loaded ("
              + reason
              + "); it is unpacked to ~/.djl.ai or the folder that DJL_CACHE_DIR names, which must"
              + " be writable",
          e);
    }
    return new UserError(file + ": not a " + kind + " that can be run: " + reason, e);
  }

  private static void setIfAbsent(String property, String value) {
    if (System.getProperty(property) == null) {
      System.setProperty(property, value);
    }
  }
}
