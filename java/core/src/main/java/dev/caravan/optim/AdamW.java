package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Adamw;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * AdamW over the flat buffer of all weights, in one call. Source: Loshchilov and Hutter 2019, arXiv
 * 1711.05101, algorithm 2. Weight decay applies to tensors of two or more dimensions.
 */
public final class AdamW implements Optimizer {
  /**
   * Settings that do not change from step to step.
   *
   * @param beta1 decay of the first moment
   * @param beta2 decay of the second moment
   * @param eps added to the root of the second moment
   * @param weightDecay decoupled decay, times the learning rate
   * @param moments F32, or BF16 with stochastic rounding
   */
  public record Settings(
      double beta1, double beta2, double eps, double weightDecay, DType moments) {}

  private final FlatLayout layout;
  private final DType type;
  private final Memory m;
  private final Memory v;
  private final Memory segments;
  private final KernelCall call;

  /** Moments of zero for the executor's weights. */
  public AdamW(Executor executor, TensorRef state, Settings settings) {
    layout = executor.plan().weights();
    type = settings.moments();
    Stream stream = executor.stream();
    long bytes = layout.elements() * type.bytes();
    m = executor.allocate("first moments", bytes);
    v = executor.allocate("second moments", bytes);
    stream.fill(m.address(), 0, bytes);
    stream.fill(v.address(), 0, bytes);
    segments = segments(stream, layout);
    call =
        Adamw.step(
            executor.weights(),
            executor.remainders(),
            executor.gradients(),
            TensorRef.in(m, 0, type, layout.elements()),
            TensorRef.in(v, 0, type, layout.elements()),
            TensorRef.in(segments, 0, DType.U8, segments.bytes()),
            state,
            (float) settings.beta1(),
            (float) settings.beta2(),
            (float) settings.eps(),
            (float) settings.weightDecay());
  }

  /** Bytes that AdamW will allocate for a layout: two moments and the table of weights. */
  public static long stateBytes(FlatLayout layout, DType moments) {
    return 2 * layout.elements() * moments.bytes() + Adamw.segmentBytes(layout.slots().size());
  }

  private static Memory segments(Stream stream, FlatLayout layout) {
    List<Adamw.Segment> list =
        layout.slots().stream()
            .map(slot -> new Adamw.Segment(slot.offset(), slot.count(), slot.decays() ? 1 : 0))
            .toList();
    int bytes = Math.toIntExact(Adamw.segmentBytes(list.size()));
    Memory table = Memory.allocate(stream.device(), bytes);
    try (Memory host = Memory.allocate(Device.CPU, bytes)) {
      Adamw.putSegments(host.view(0, bytes), list);
      stream.copy(table.address(), host.address(), bytes);
      stream.synchronize();
    }
    return table;
  }

  @Override
  public void step(Stream stream) {
    call.run(stream);
  }

  @Override
  public Map<String, Map<String, TensorRef>> state() {
    Map<String, Map<String, TensorRef>> state = new LinkedHashMap<>();
    state.put("m", moment(m));
    state.put("v", moment(v));
    return state;
  }

  private Map<String, TensorRef> moment(Memory memory) {
    Map<String, TensorRef> tensors = new LinkedHashMap<>();
    for (FlatLayout.Slot slot : layout.slots()) {
      tensors.put(
          slot.name(),
          TensorRef.of(
              memory.address() + slot.offset() * type.bytes(), type, slot.type().shape()));
    }
    return tensors;
  }

  @Override
  public void close() {
    call.close();
    segments.close();
    v.close();
    m.close();
  }
}
