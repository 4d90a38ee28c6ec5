package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Adafactor.Phase;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Adafactor, one call for each weight; each expert's matrix is a weight of its own. The second
 * moment of a matrix is kept as its row and column means, so the state of a factored model is next
 * to nothing. Source: Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5.
 *
 * <p>Ranks that keep parts each update whole weights: the means of a matrix need all of it. Where
 * tensor-parallel ranks have a part of it each, they add up what is across the cut.
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
  static final int EXPERTS = 3;

  /** The kinds of state that are means over the last axis of a weight, and over the one before. */
  public static final String ROW = "row";

  public static final String COL = "col";

  /** In place of an expert: the tensor is one weight. */
  private static final int WHOLE = -1;

  private final Memory memory;
  private final Memory workspace;
  private final Map<String, Map<String, TensorRef>> state;
  private final Shards shards;
  private final AdafactorTotals totals;
  private final List<Group> groups = new ArrayList<>();

  /** The calls for the weights of one piece; of those in parts a list for each phase. */
  private record Group(
      Shards.Piece piece, List<KernelCall> whole, Map<Phase, List<KernelCall>> parts) {
    List<KernelCall> calls() {
      List<KernelCall> all = new ArrayList<>(whole);
      parts.values().forEach(all::addAll);
      return all;
    }
  }

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
    totals = new AdafactorTotals(executor, settings.factored);
    for (Shards.Piece piece : shards.pieces()) {
      Group group = new Group(piece, new ArrayList<>(), new EnumMap<>(Phase.class));
      for (FlatLayout.Span span : layout.spans(piece.first(), piece.count())) {
        boolean cut = AdafactorTotals.cut(layout, span.slot());
        List<Matrix> matrices =
            matrices(
                span.slot(),
                in(piece.weights(), span),
                piece.remainders() == null ? null : in(piece.remainders(), span),
                in(piece.gradients(), span),
                state,
                stepState,
                settings);
        for (Matrix matrix : matrices) {
          if (cut) {
            inPhases(group, matrix, totals.next(span.slot(), settings.factored, matrix.shape()));
          } else {
            group.whole.add(matrix.step());
          }
        }
      }
      groups.add(group);
    }
    List<KernelCall> all = groups.stream().flatMap(group -> group.calls().stream()).toList();
    // As much on every rank as the one with the largest weight needs.
    long largest = workspaceBytes(layout, settings, stream.device().kind());
    workspace = executor.allocate("the optimizer's workspace", largest);
    if (workspace != null) {
      all.forEach(call -> call.workspace(workspace.address(), workspace.bytes()));
    }
  }

  private static void inPhases(
      Group group, Matrix matrix, dev.caravan.kernels.Adafactor.Part part) {
    for (Phase phase : Phase.values()) {
      group.parts.computeIfAbsent(phase, p -> new ArrayList<>()).add(matrix.step(part, phase));
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

  /** The weights that each data-parallel rank updates. */
  static List<List<FlatLayout.Slot>> slotsOfRanks(FlatLayout layout) {
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
    return ranks;
  }

  /** Bytes of state that the rank with most of it keeps. */
  private static long mostState(FlatLayout layout, Settings settings) {
    return slotsOfRanks(layout).stream()
        .mapToLong(slots -> lay(slots, settings, NOWHERE, new LinkedHashMap<>()))
        .max()
        .orElseThrow();
  }

  /** The shape of a weight, or of one expert's matrix. */
  static long[] matrix(long... shape) {
    return shape.length == EXPERTS ? Arrays.copyOfRange(shape, 1, EXPERTS) : shape;
  }

  /** A weight, or one expert's, with its state; what it has not is null. */
  private record Matrix(
      TensorRef weight,
      TensorRef remainder,
      TensorRef gradient,
      TensorRef row,
      TensorRef col,
      TensorRef v,
      TensorRef m,
      TensorRef stepState,
      dev.caravan.kernels.Adafactor.Options options) {
    long[] shape() {
      return weight.shape();
    }

    KernelCall step() {
      return dev.caravan.kernels.Adafactor.step(
          weight, remainder, gradient, row, col, v, m, stepState, options);
    }

    KernelCall step(dev.caravan.kernels.Adafactor.Part part, Phase phase) {
      return dev.caravan.kernels.Adafactor.step(
          weight, remainder, gradient, row, col, v, m, stepState, options, part, phase);
    }
  }

  private static List<Matrix> matrices(
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
    TensorRef row = state.getOrDefault(ROW, Map.of()).get(name);
    TensorRef col = state.getOrDefault(COL, Map.of()).get(name);
    TensorRef v = state.getOrDefault("v", Map.of()).get(name);
    TensorRef m = state.getOrDefault("m", Map.of()).get(name);
    boolean experts = weight.shape().length == EXPERTS;
    List<Matrix> matrices = new ArrayList<>();
    for (int e = 0; e < (experts ? weight.shape()[0] : 1); e++) {
      int expert = experts ? e : WHOLE;
      matrices.add(
          new Matrix(
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
    return matrices;
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
    return mostState(layout, settings)
        + workspaceBytes(layout, settings, kind)
        + AdafactorTotals.bytes(layout, settings.factored);
  }

  /** Bytes that a rank of a layout sends in a step to those that have other parts of its weights. */
  public static long wireBytes(FlatLayout layout, Settings settings) {
    return AdafactorTotals.wireBytes(layout, settings.factored);
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
      matrices(slot, weight, remainder, gradient, nowhere, stepState, settings)
          .forEach(matrix -> calls.add(matrix.step()));
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
        next = put(state, ROW, slot.name(), address, next, shape[0]);
        next = put(state, COL, slot.name(), address, next, shape[1]);
      } else if (settings.factored && shape.length == EXPERTS) {
        next = put(state, ROW, slot.name(), address, next, shape[0], shape[1]);
        next = put(state, COL, slot.name(), address, next, shape[0], shape[2]);
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
    run(stream, Phase.SUM);
    totals.addSums(stream);
    run(stream, Phase.MEASURE);
    totals.addSquares(stream);
    for (Group group : groups) {
      group.whole.forEach(call -> call.run(stream));
      group.parts.getOrDefault(Phase.UPDATE, List.of()).forEach(call -> call.run(stream));
      shards.publish(stream, group.piece);
    }
    shards.join(stream);
  }

  private void run(Stream stream, Phase phase) {
    for (Group group : groups) {
      group.parts.getOrDefault(phase, List.of()).forEach(call -> call.run(stream));
    }
  }

  @Override
  public Map<String, Map<String, TensorRef>> state() {
    return state;
  }

  @Override
  public void close() {
    groups.forEach(group -> group.calls().forEach(KernelCall::close));
    if (workspace != null) {
      workspace.close();
    }
    totals.close();
    memory.close();
  }
}
