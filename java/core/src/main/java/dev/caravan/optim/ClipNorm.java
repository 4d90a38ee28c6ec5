package dev.caravan.optim;

import dev.caravan.kernels.GlobalNorm;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;

/**
 * The global L2 norm of all gradients, and from it the factor that the optimizer scales them by (Pascanu
 * et al. 2013, arXiv 1211.5063, algorithm 1) and whether they are finite at all. The gaps between
 * weights are zero and do not count.
 */
public final class ClipNorm implements AutoCloseable {
  private final Memory workspace;
  private final KernelCall call;

  /**
   * @param gradients all gradients as one row
   * @param state the step state
   */
  public ClipNorm(Stream stream, TensorRef gradients, TensorRef state) {
    call = GlobalNorm.forward(gradients, state);
    long bytes = call.workspaceBytes(stream.device().kind());
    workspace = bytes == 0 ? null : Memory.allocate(stream.device(), bytes);
    if (workspace != null) {
      call.workspace(workspace.address(), bytes);
    }
  }

  /** Enqueues it. */
  public void run(Stream stream) {
    call.run(stream);
  }

  @Override
  public void close() {
    call.close();
    if (workspace != null) {
      workspace.close();
    }
  }
}
