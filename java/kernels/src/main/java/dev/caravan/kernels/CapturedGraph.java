package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;

/** Work recorded from a stream, to be launched as one; made by {@link Stream#endCapture}. */
public final class CapturedGraph implements AutoCloseable {
  private long handle;

  CapturedGraph(long handle) {
    this.handle = handle;
  }

  /** Gives the recorded work to a stream. */
  public void launch(Stream stream) {
    if (handle == 0) {
      throw new IllegalStateException("this graph was closed");
    }
    Native.check(Caravan.caravan_graph_launch(handle, stream.handle()));
  }

  /** Forgets the work. Closing twice does nothing more. */
  @Override
  public void close() {
    if (handle != 0) {
      long closed = handle;
      handle = 0;
      Native.check(Caravan.caravan_graph_destroy(closed));
    }
  }
}
