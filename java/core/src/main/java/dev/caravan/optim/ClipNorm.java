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
import java.util.Map;
import java.util.Objects;

/**
 * The global L2 norm of all gradients, and from it the factor that the optimizer scales them by
 * (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1) and whether they are finite at all. The gaps
 * between weights are zero and do not count.
 *
 * <p>Of ranks that have parts, each takes the norms of its own, and the norm of all those norms is
 * the global one, on every rank the same bits. What tensor-parallel ranks have alike, the first of
 * them counts.
 */
public final class ClipNorm implements AutoCloseable {
  /** An address to count with: not null, aligned, never touched. */
  private static final long NOWHERE = 256;

  private final Memory workspace;
  private final List<KernelCall> calls = new ArrayList<>(); // null where another rank counts
  private final KernelCall last;
  private final Memory norms; // of all ranges of all ranks; null where there is one range
  private final TensorRef norm;
  private final Collectives ranks;
  private final List<Collective> exchanges = new ArrayList<>(); // the narrowest group's first

  /**
   * @param gradients all gradients as one row
   * @param state the step state
   */
  public ClipNorm(Stream stream, TensorRef gradients, TensorRef state) {
    last = GlobalNorm.forward(gradients, state);
    norms = null;
    norm = null;
    ranks = Collectives.ALONE;
    Device device = stream.device();
    workspace = allocate(device, last.workspaceBytes(device.kind()));
    share(workspace);
  }

  /** Of the gradients that a rank keeps, and those of the others. */
  public ClipNorm(Executor executor, StepState state) {
    Device device = executor.stream().device();
    FlatLayout layout = executor.plan().weights();
    ranks = executor.ranks();
    norm = state.gradNorm();
    if (groups(layout).isEmpty()) {
      norms = null;
      last = GlobalNorm.forward(executor.gradients(), state.ref());
      workspace = allocate(device, last.workspaceBytes(device.kind()));
    } else {
      for (NormRange range : NormRange.of(executor)) {
        calls.add(range.counts() ? GlobalNorm.forward(range.gradients(), state.ref()) : null);
      }
      norms = executor.allocate("norms of gradients", normBytes(layout));
      executor.stream().fill(norms.address(), 0, norms.bytes());
      TensorRef all = TensorRef.in(norms, 0, DType.F32, norms.bytes() / DType.F32.bytes());
      TensorRef gathered = all;
      for (Group group : groups(layout)) {
        TensorRef own = Shards.part(gathered, ranks.rank(group.axis), group.ranks);
        exchanges.add(
            0, new Collective(Kind.ALL_GATHER, group.axis, group.ranks, own, gathered, 0));
        gathered = own;
      }
      last = GlobalNorm.forward(all, state.ref());
      workspace = allocate(device, mostWorkspace(layout, device.kind()));
    }
    share(workspace);
  }

  /** Ranks that have other gradients. */
  private record Group(Axis axis, int ranks) {}

  /**
   * Among whom the gradients that count are spread: groups of groups, the widest first. Those that
   * share the experts are among those that keep parts.
   */
  private static List<Group> groups(FlatLayout layout) {
    Group parts =
        layout.parts() > 1
            ? new Group(Axis.DATA, layout.parts())
            : new Group(Axis.EXPERT, layout.grid().experts().ranks());
    Group tensor = new Group(Axis.TENSOR, layout.grid().tensor().ranks());
    List<Group> groups = new ArrayList<>(List.of(parts, tensor));
    groups.removeIf(group -> group.ranks == 1);
    return groups;
  }

  private static Memory allocate(Device device, long bytes) {
    return bytes == 0 ? null : Memory.allocate(device, bytes);
  }

  /** The calls take turns in one workspace. */
  private void share(Memory memory) {
    if (memory != null) {
      calls.stream()
          .filter(Objects::nonNull)
          .forEach(call -> call.workspace(memory.address(), memory.bytes()));
      last.workspace(memory.address(), memory.bytes());
    }
  }

  private static long normBytes(FlatLayout layout) {
    long bytes = (long) NormRange.count(layout) * DType.F32.bytes();
    for (Group group : groups(layout)) {
      bytes *= group.ranks;
    }
    return bytes;
  }

  /** Adds the bytes that a rank of a layout sends in a step. */
  public static void countWire(FlatLayout layout, Map<Axis, Long> wire) {
    long gathered = normBytes(layout);
    for (Group group : groups(layout)) {
      long bytes = Collective.wireBytes(Kind.ALL_GATHER, group.ranks, gathered);
      wire.merge(group.axis, bytes, Long::sum);
      gathered /= group.ranks;
    }
  }

  /** Bytes that it allocates for the gradients of a layout. */
  public static long bytes(FlatLayout layout, Device.Kind kind) {
    return groups(layout).isEmpty()
        ? workspaceBytes(layout.elements(), kind)
        : normBytes(layout) + mostWorkspace(layout, kind);
  }

  /** As much on every rank as for a whole bucket's part. */
  private static long mostWorkspace(FlatLayout layout, Device.Kind kind) {
    long most = workspaceBytes(normBytes(layout) / DType.F32.bytes(), kind);
    for (FlatLayout.Bucket bucket : layout.buckets()) {
      most = Math.max(most, workspaceBytes(bucket.part(), kind));
    }
    return most;
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
      long at = exchanges.get(0).send().address();
      for (KernelCall call : calls) {
        if (call != null) {
          call.run(stream);
          stream.copy(at, norm.address(), norm.bytes());
        }
        at += norm.bytes();
      }
      for (Collective exchange : exchanges) {
        ranks.begin(stream, exchange);
        ranks.join(stream, exchange.axis());
      }
    }
    last.run(stream);
  }

  @Override
  public void close() {
    calls.stream().filter(Objects::nonNull).forEach(KernelCall::close);
    last.close();
    if (workspace != null) {
      workspace.close();
    }
    if (norms != null) {
      norms.close();
    }
  }
}
