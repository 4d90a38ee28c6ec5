package dev.caravan.graph;

import dev.caravan.kernels.CapturedGraph;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Stream;

/**
 * Work on a stream that is the same every time: launched plainly the first time, which warms up what
 * loads itself late; recorded the second time; from then on replayed as one launch. What the work reads
 * that changes must lie in device memory.
 */
public final class Replay implements AutoCloseable {
  private final Stream stream;
  private final Runnable work;
  private final boolean records;
  private boolean warm;
  private CapturedGraph graph;

  /**
   * @param work enqueues the work, and must do nothing else
   */
  public Replay(Stream stream, Runnable work) {
    this(stream, work, true);
  }

  /**
   * As above.
   *
   * @param recordable whether it can be recorded; else it is always launched plainly
   */
  public Replay(Stream stream, Runnable work, boolean recordable) {
    this.stream = stream;
    this.work = work;
    records = recordable && LaunchMode.of(stream.device()) == LaunchMode.REPLAY;
  }

  /** Enqueues the work; plainly where somebody listens to every op. */
  public void run() {
    if (stream.watched()) {
      work.run();
      return;
    }
    if (graph == null && records && warm) {
      graph = record();
    }
    if (graph != null) {
      graph.launch(stream);
    } else {
      work.run();
      warm = true;
    }
  }

  /** Whether it is launched as one from now on. */
  public boolean recorded() {
    return graph != null;
  }

  private CapturedGraph record() {
    stream.beginCapture();
    try {
      work.run();
    } catch (RuntimeException | Error e) {
      try {
        stream.endCapture().close();
      } catch (KernelException spoiled) {
        e.addSuppressed(spoiled);
      }
      throw e;
    }
    return stream.endCapture();
  }

  /** Forgets what was recorded. */
  @Override
  public void close() {
    if (graph != null) {
      graph.close();
      graph = null;
    }
  }
}
