package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.GlobalNorm;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.List;

/**
 * The global L2 norm of all gradients, and from it the factor that the optimizer scales them by (Pascanu
 * et al. 2013, arXiv 1211.5063, algorithm 1) and whether they are finite at all. The gaps between
 * weights are zero and do not count.
 *
 * <p>Of ranks that update parts, each takes the norm of every piece of its own; the norm of all those norms
 * is the global one, on every rank the same bits.
 */
public final class ClipNorm implements AutoCloseable {
  /** An address to count with: not null, aligned, never touched. */
  private static final long NOWHERE = 256;

  private final Memory workspace;
  private final List<KernelCall> calls = new ArrayList<>();
  private final KernelCall last;
  private final Memory norms; // of all pieces of all ranks; null where there is one piece
  private final TensorRef norm;
  private final Collectives ranks;
  private final Collective exchange;

  /**
   * @param gradients all gradients as one row
   * @param state the step state
   */
  public ClipNorm(Stream stream, TensorRef gradients, TensorRef state) {
    last = GlobalNorm.forward(gradients, state);
    norms = null;
    norm = null;
    ranks = Collectives.ALONE;
    exchange = null;
    workspace = workspace(stream.device());
  }

  /** Of the gradients that a rank keeps, and those of the others. */
  public ClipNorm(Executor executor, StepState state) {
    Device device = executor.stream().device();
    List<Shards.Piece> pieces = executor.shards().pieces();
    ranks = executor.ranks();
    norm = state.gradNorm();
    if (pieces.size() == 1 && pieces.get(0).bucket() == null) {
      norms = null;
      exchange = null;
      last = GlobalNorm.forward(pieces.get(0).gradients(), state.ref());
    } else {
      for (Shards.Piece piece : pieces) {
        calls.add(GlobalNorm.forward(piece.gradients(), state.ref()));
      }
      int parts = executor.plan().weights().parts();
      norms = executor.allocate("norms of gradients", normBytes(executor.plan().weights()));
      TensorRef all = TensorRef.in(norms, 0, DType.F32, (long) parts * pieces.size());
      exchange =
          new Collective(Kind.ALL_GATHER, Axis.DATA, parts, own(pieces.size()), all, 0);
      last = GlobalNorm.forward(all, state.ref());
    }
    workspace = workspace(device);
  }

  private TensorRef own(int pieces) {
    long offset = (long) ranks.rank(Axis.DATA) * pieces * DType.F32.bytes();
    return TensorRef.in(norms, offset, DType.F32, pieces);
  }

  /** The calls take turns in one workspace. */
  private Memory workspace(Device device) {
    long bytes = last.workspaceBytes(device.kind());
    for (KernelCall call : calls) {
      bytes = Math.max(bytes, call.workspaceBytes(device.kind()));
    }
    if (bytes == 0) {
      return null;
    }
    Memory memory = Memory.allocate(device, bytes);
    calls.forEach(call -> call.workspace(memory.address(), memory.bytes()));
    last.workspace(memory.address(), memory.bytes());
    return memory;
  }

  private static long normBytes(FlatLayout layout) {
    return (long) layout.parts() * layout.buckets().size() * DType.F32.bytes();
  }

  /** Bytes that it allocates for the gradients of a layout. */
  public static long bytes(FlatLayout layout, Device.Kind kind) {
    if (layout.parts() == 1) {
      return workspaceBytes(layout.elements(), kind);
    }
    long most = workspaceBytes((long) layout.parts() * layout.buckets().size(), kind);
    for (FlatLayout.Bucket bucket : layout.buckets()) {
      most = Math.max(most, workspaceBytes(bucket.elements() / layout.parts(), kind));
    }
    return normBytes(layout) + most;
  }

  private static long workspaceBytes(long elements, Device.Kind kind) {
    TensorRef gradients = TensorRef.of(NOWHERE, DType.F32, elements);
    TensorRef state = TensorRef.of(NOWHERE, DType.U8, StepState.bytes());
    try (KernelCall call = GlobalNorm.forward(gradients, state)) {
      return call.workspaceBytes(kind);
    }
  }

  /** Enqueues it. */
  public void run(Stream stream) {
    if (norms != null) {
      long at = exchange.send().address();
      for (KernelCall call : calls) {
        call.run(stream);
        stream.copy(at, norm.address(), norm.bytes());
        at += norm.bytes();
      }
      ranks.begin(stream, exchange);
      ranks.join(stream, Axis.DATA);
    }
    last.run(stream);
  }

  @Override
  public void close() {
    calls.forEach(KernelCall::close);
    last.close();
    if (workspace != null) {
      workspace.close();
    }
    if (norms != null) {
      norms.close();
    }
  }
}
