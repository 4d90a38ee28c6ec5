package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Adafactor, one call for each weight; each expert's matrix is a weight of its own. The second
 * moment of a matrix is kept as its row and column means, so the state of a factored model is next
 * to nothing. Source: Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5.
 *
 * <p>Ranks that keep parts each update whole weights: the means of a matrix need all of it.
 */
public final class Adafactor implements Optimizer {
  /**
   * Settings that do not change from step to step.
   *
   * @param beta1 decay of the first moment; 0 keeps none
   * @param decayRate the second moment decays by 1 - step^-decayRate
   * @param clipThreshold largest root mean square of an update
   * @param scaleParameter multiplies the step size by the root mean square of the weight
   * @param factored keeps row and column means of matrices
   * @param weightDecay decoupled decay, times the step size
   */
  public record Settings(
      double beta1,
      double decayRate,
      double clipThreshold,
      boolean scaleParameter,
      boolean factored,
      double weightDecay) {}

  /** Added to squared gradients; keeps a row of zeros from dividing by zero. Source: section 3. */
  private static final float EPS_SQUARE = 1e-30f;

  /** Least root mean square that a weight counts with. Source: section 8. */
  private static final float EPS_SCALE = 1e-3f;

  /** Every state tensor begins at a multiple of so many bytes. */
  private static final long ALIGNMENT = 64;

  /** An address to count with: not null, aligned, never touched. */
  private static final long NOWHERE = 256;

  /** Axes of the weights of all experts of a layer. */
  private static final int EXPERTS = 3;

  /** In place of an expert: the tensor is one weight. */
  private static final int WHOLE = -1;

  private final Memory memory;
  private final Memory workspace;
  private final Map<String, Map<String, TensorRef>> state;
  private final Shards shards;
  private final List<Part> parts = new ArrayList<>();

  /** The calls for the weights of one piece. */
  private record Part(Shards.Piece piece, List<KernelCall> calls) {}

  /** State of zero for the weights that the executor's rank updates. */
  public Adafactor(Executor executor, TensorRef stepState, Settings settings) {
    Stream stream = executor.stream();
    FlatLayout layout = executor.plan().weights();
    shards = executor.shards();
    long bytes = mostState(layout, settings);
    memory = executor.allocate("moments", bytes);
    stream.fill(memory.address(), 0, bytes);
    state = new LinkedHashMap<>();
    List<FlatLayout.Slot> own = new ArrayList<>();
    for (Shards.Piece piece : shards.pieces()) {
      layout.spans(piece.first(), piece.count()).forEach(span -> own.add(whole(span)));
    }
    lay(own, settings, memory.address(), state);
    for (Shards.Piece piece : shards.pieces()) {
      List<KernelCall> calls = new ArrayList<>();
      for (FlatLayout.Span span : layout.spans(piece.first(), piece.count())) {
        calls.addAll(
            calls(
                span.slot(),
                in(piece.weights(), span),
                piece.remainders() == null ? null : in(piece.remainders(), span),
                in(piece.gradients(), span),
                state,
                stepState,
                settings));
      }
      parts.add(new Part(piece, calls));
    }
    List<KernelCall> all = parts.stream().flatMap(part -> part.calls.stream()).toList();
    // As much on every rank as the one with the largest weight needs.
    long largest = workspaceBytes(layout, settings, stream.device().kind());
    workspace = executor.allocate("the optimizer's workspace", largest);
    if (workspace != null) {
      all.forEach(call -> call.workspace(workspace.address(), workspace.bytes()));
    }
  }

  private static FlatLayout.Slot whole(FlatLayout.Span span) {
    if (!span.whole()) {
      throw new IllegalArgumentException(span.name() + ": adafactor needs weights that are not cut");
    }
    return span.slot();
  }

  /** A weight within a row of several. */
  private static TensorRef in(TensorRef row, FlatLayout.Span span) {
    return TensorRef.of(
        row.address() + span.at() * row.dtype().bytes(), row.dtype(), span.shape());
  }

  /** Bytes of state that the rank with most of it keeps. */
  private static long mostState(FlatLayout layout, Settings settings) {
    List<List<FlatLayout.Slot>> ranks = new ArrayList<>();
    for (int rank = 0; rank < layout.parts(); rank++) {
      ranks.add(new ArrayList<>());
    }
    for (FlatLayout.Bucket bucket : layout.buckets()) {
      int alike = layout.parts() / bucket.parts(); // ranks that keep the same part: none, or replicas
      for (FlatLayout.Slot slot : bucket.slots()) {
        int part = (int) ((slot.offset() - bucket.offset()) / bucket.part());
        for (int rank = part * alike; rank < (part + 1) * alike; rank++) {
          ranks.get(rank).add(slot);
        }
      }
    }
    return ranks.stream()
        .mapToLong(slots -> lay(slots, settings, NOWHERE, new LinkedHashMap<>()))
        .max()
        .orElseThrow();
  }

  private static List<KernelCall> calls(
      FlatLayout.Slot slot,
      TensorRef weight,
      TensorRef remainder,
      TensorRef gradient,
      Map<String, Map<String, TensorRef>> state,
      TensorRef stepState,
      Settings settings) {
    String name = slot.name();
    dev.caravan.kernels.Adafactor.Options options =
        new dev.caravan.kernels.Adafactor.Options(
            (float) settings.beta1,
            (float) settings.decayRate,
            EPS_SQUARE,
            EPS_SCALE,
            (float) settings.clipThreshold,
            slot.decays() ? (float) settings.weightDecay : 0,
            settings.scaleParameter);
    TensorRef row = state.getOrDefault("row", Map.of()).get(name);
    TensorRef col = state.getOrDefault("col", Map.of()).get(name);
    TensorRef v = state.getOrDefault("v", Map.of()).get(name);
    TensorRef m = state.getOrDefault("m", Map.of()).get(name);
    boolean experts = weight.shape().length == EXPERTS;
    List<KernelCall> calls = new ArrayList<>();
    for (int e = 0; e < (experts ? weight.shape()[0] : 1); e++) {
      int expert = experts ? e : WHOLE;
      calls.add(
          dev.caravan.kernels.Adafactor.step(
              part(weight, expert),
              part(remainder, expert),
              part(gradient, expert),
              part(row, expert),
              part(col, expert),
              part(v, expert),
              part(m, expert),
              stepState,
              options));
    }
    return calls;
  }

  /** The part of a tensor that is one expert's; null where there is none. */
  private static TensorRef part(TensorRef whole, int expert) {
    if (whole == null || expert == WHOLE) {
      return whole;
    }
    long[] shape = Arrays.copyOfRange(whole.shape(), 1, whole.shape().length);
    return TensorRef.of(
        whole.address() + expert * (whole.bytes() / whole.shape()[0]), whole.dtype(), shape);
  }

  /** Bytes that Adafactor will allocate for a layout: its state and the largest workspace. */
  public static long stateBytes(FlatLayout layout, Settings settings, Device.Kind kind) {
    return mostState(layout, settings) + workspaceBytes(layout, settings, kind);
  }

  private static long workspaceBytes(FlatLayout layout, Settings settings, Device.Kind kind) {
    Map<String, Map<String, TensorRef>> nowhere = new LinkedHashMap<>();
    lay(layout.slots(), settings, NOWHERE, nowhere);
    TensorRef stepState = TensorRef.of(NOWHERE, DType.U8, StepState.bytes());
    List<KernelCall> calls = new ArrayList<>();
    for (FlatLayout.Slot slot : layout.slots()) {
      long[] shape = slot.type().shape();
      TensorRef weight = TensorRef.of(NOWHERE, slot.type().dtype(), shape);
      boolean split = slot.type().dtype() == DType.BF16;
      TensorRef remainder = split ? TensorRef.of(NOWHERE, DType.U16, shape) : null;
      TensorRef gradient = TensorRef.of(NOWHERE, DType.F32, shape);
      calls.addAll(calls(slot, weight, remainder, gradient, nowhere, stepState, settings));
    }
    long bytes = calls.stream().mapToLong(call -> call.workspaceBytes(kind)).max().orElse(0);
    calls.forEach(KernelCall::close);
    return bytes;
  }

  /**
   * Lays the state out from an address on.
   *
   * @return how many bytes it takes
   */
  private static long lay(
      List<FlatLayout.Slot> slots,
      Settings settings,
      long address,
      Map<String, Map<String, TensorRef>> state) {
    long next = 0;
    for (FlatLayout.Slot slot : slots) {
      long[] shape = slot.type().shape();
      if (settings.factored && shape.length == 2) {
        next = put(state, "row", slot.name(), address, next, shape[0]);
        next = put(state, "col", slot.name(), address, next, shape[1]);
      } else if (settings.factored && shape.length == EXPERTS) {
        next = put(state, "row", slot.name(), address, next, shape[0], shape[1]);
        next = put(state, "col", slot.name(), address, next, shape[0], shape[2]);
      } else {
        next = put(state, "v", slot.name(), address, next, shape);
      }
      if (settings.beta1 > 0) {
        next = put(state, "m", slot.name(), address, next, shape);
      }
    }
    return next;
  }

  private static long put(
      Map<String, Map<String, TensorRef>> state,
      String kind,
      String weight,
      long address,
      long offset,
      long... shape) {
    long elements = 1;
    for (long extent : shape) {
      elements *= extent;
    }
    state
        .computeIfAbsent(kind, k -> new LinkedHashMap<>())
        .put(weight, TensorRef.of(address + offset, DType.F32, shape));
    long bytes = elements * DType.F32.bytes();
    return offset + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  @Override
  public void step(Stream stream) {
    for (Part part : parts) {
      for (KernelCall call : part.calls) {
        call.run(stream);
      }
      shards.publish(stream, part.piece);
    }
    shards.join(stream);
  }

  @Override
  public Map<String, Map<String, TensorRef>> state() {
    return state;
  }

  @Override
  public void close() {
    parts.forEach(part -> part.calls.forEach(KernelCall::close));
    if (workspace != null) {
      workspace.close();
    }
    memory.close();
  }
}
