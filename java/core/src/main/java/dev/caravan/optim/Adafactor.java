package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
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
 * Adafactor, one call for each weight; each expert's matrix is a weight of its own. The second moment of a matrix is kept as its row and column
 * means, so the state of a factored model is next to nothing. Source: Shazeer and Stern 2018, arXiv
 * 1804.04235, algorithms 4 and 5.
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
  private final List<KernelCall> calls = new ArrayList<>();

  /** State of zero for the executor's weights. */
  public Adafactor(Executor executor, TensorRef stepState, Settings settings) {
    Stream stream = executor.stream();
    FlatLayout layout = executor.plan().weights();
    long bytes = lay(layout, settings, NOWHERE, new LinkedHashMap<>());
    memory = executor.allocate("moments", bytes);
    stream.fill(memory.address(), 0, bytes);
    state = new LinkedHashMap<>();
    lay(layout, settings, memory.address(), state);
    for (FlatLayout.Slot slot : layout.slots()) {
      String name = slot.name();
      TensorRef remainder = executor.remainders() == null ? null : executor.remainder(name);
      calls.addAll(
          calls(
              slot, executor.weight(name), remainder, executor.gradient(name), state, stepState,
              settings));
    }
    long largest = workspaceBytes(calls, stream.device().kind());
    workspace = executor.allocate("the optimizer's workspace", largest);
    if (workspace != null) {
      calls.forEach(call -> call.workspace(workspace.address(), workspace.bytes()));
    }
  }

  private static long workspaceBytes(List<KernelCall> calls, Device.Kind kind) {
    return calls.stream().mapToLong(call -> call.workspaceBytes(kind)).max().orElse(0);
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
    Map<String, Map<String, TensorRef>> nowhere = new LinkedHashMap<>();
    long bytes = lay(layout, settings, NOWHERE, nowhere);
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
    bytes += workspaceBytes(calls, kind);
    calls.forEach(KernelCall::close);
    return bytes;
  }

  /**
   * Lays the state out from an address on.
   *
   * @return how many bytes it takes
   */
  private static long lay(
      FlatLayout layout,
      Settings settings,
      long address,
      Map<String, Map<String, TensorRef>> state) {
    long next = 0;
    for (FlatLayout.Slot slot : layout.slots()) {
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
    for (KernelCall call : calls) {
      call.run(stream);
    }
  }

  @Override
  public Map<String, Map<String, TensorRef>> state() {
    return state;
  }

  @Override
  public void close() {
    calls.forEach(KernelCall::close);
    if (workspace != null) {
      workspace.close();
    }
    memory.close();
  }
}
