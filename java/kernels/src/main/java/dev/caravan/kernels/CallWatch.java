package dev.caravan.kernels;

/**
 * Hears of every op that a stream is given by this program, on the thread that gives it: for profiles.
 * Work that was captured and is launched as one is not heard of.
 */
public interface CallWatch {
  /** The call is about to be given to the stream. */
  void before(KernelCall call);

  /** The call was given to the stream; it may not be done yet. Not called when it was refused. */
  void after(KernelCall call);
}
