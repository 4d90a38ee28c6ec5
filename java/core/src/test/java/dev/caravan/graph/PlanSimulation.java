package dev.caravan.graph;

import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;

/**
 * Runs a memory plan without computing anything: keeps, for every unit of the arena, whose bytes
 * lie there, and checks that each node finds its inputs as they were written and writes over
 * nothing that it may not. It knows nothing of lifetimes or blocks; only who wrote where.
 */
final class PlanSimulation {
  private static final int UNIT = (int) MemoryPlan.ALIGNMENT;
  private static final int NOBODY = -1;

  private final ToLongFunction<Tensor> offsets;
  private final int[] owner;
  private final Map<Tensor, Integer> value = new HashMap<>();
  private int values;

  /** A stretch of the arena in units. */
  private record Range(int from, int to) {
    boolean meets(Range other) {
      return from < other.to && other.from < to;
    }
  }

  private PlanSimulation(ToLongFunction<Tensor> offsets, long arenaBytes) {
    this.offsets = offsets;
    owner = new int[units(arenaBytes)];
    Arrays.fill(owner, NOBODY);
  }

  /**
   * Runs a whole plan.
   *
   * @throws AssertionError naming the node and the tensor that is not what it should be
   */
  static void run(Graph graph, List<List<TensorType>> scratch, MemoryPlan plan) {
    run(graph, scratch, plan, plan::offset);
  }

  /** The same with tensors elsewhere than the plan says. */
  static void run(
      Graph graph,
      List<List<TensorType>> scratch,
      MemoryPlan plan,
      ToLongFunction<Tensor> offsets) {
    PlanSimulation simulation = new PlanSimulation(offsets, plan.arenaBytes());
    for (int i = 0; i < graph.nodes().size(); i++) {
      simulation.step(graph.nodes().get(i), i, scratch.get(i), plan);
    }
    graph.results().forEach(result -> simulation.mustHold(result, "at the end"));
  }

  private void step(Node node, int index, List<TensorType> scratch, MemoryPlan plan) {
    node.inputs().forEach(input -> mustHold(input, node + " reads it"));
    Range[] written = new Range[node.outputs().size() + scratch.size()];
    for (int o = 0; o < node.outputs().size(); o++) {
      Tensor output = node.out(o);
      if (output.role() != Role.ACTIVATION) {
        continue;
      }
      Range range = range(output);
      int view = node.op().viewOf(o);
      if (view != Op.NO_ALIAS) {
        that(range.from == range(node.in(view)).from, node, output, "is no view of its input");
        value.put(output, value.get(node.in(view)));
        continue;
      }
      mayWrite(node, o, range);
      written[o] = range;
    }
    for (int s = 0; s < scratch.size(); s++) {
      long offset = plan.scratchOffset(index, s);
      Range range = range(offset, scratch.get(s).byteSize());
      for (Tensor input : node.inputs()) {
        that(!isAt(input, range), node, input, "is under a temporary of the node that reads it");
      }
      written[node.outputs().size() + s] = range;
    }
    for (int a = 0; a < written.length; a++) {
      for (int b = 0; b < a; b++) {
        boolean apart = written[a] == null || written[b] == null || !written[a].meets(written[b]);
        that(apart, node, node.out(0), "two things that the node writes overlap");
      }
    }
    for (int w = 0; w < written.length; w++) {
      if (written[w] != null) {
        Arrays.fill(owner, written[w].from, written[w].to, values);
        if (w < node.outputs().size()) {
          value.put(node.out(w), values);
        }
        values++;
      }
    }
  }

  /**
   * An output may lie on an input only where its op allows it, exactly, and on that input alone.
   */
  private void mayWrite(Node node, int o, Range range) {
    Op op = node.op();
    int inPlace = op.inPlace(o);
    int allowed = inPlace != Op.NO_ALIAS ? inPlace : op.mayReuse(o);
    if (inPlace != Op.NO_ALIAS) {
      that(range.from == range(node.in(inPlace)).from, node, node.out(o), "is not in place");
    }
    for (int i = 0; i < node.inputs().size(); i++) {
      Tensor input = node.in(i);
      if (isAt(input, range)) {
        that(
            i == allowed && range.from == range(input).from,
            node,
            input,
            "is written over while it is read");
      }
    }
  }

  private boolean isAt(Tensor tensor, Range range) {
    return tensor.role() == Role.ACTIVATION && range(tensor).meets(range);
  }

  private void mustHold(Tensor tensor, String when) {
    if (tensor.role() != Role.ACTIVATION) {
      return;
    }
    Range range = range(tensor);
    for (int unit = range.from; unit < range.to; unit++) {
      if (!value.containsKey(tensor) || owner[unit] != value.get(tensor)) {
        throw new AssertionError(tensor + " is lost: " + when);
      }
    }
  }

  private static void that(boolean holds, Node node, Tensor tensor, String message) {
    if (!holds) {
      throw new AssertionError(node + ": " + tensor + " " + message);
    }
  }

  private Range range(Tensor tensor) {
    return range(offsets.applyAsLong(tensor), tensor.type().byteSize());
  }

  private Range range(long offset, long bytes) {
    if (offset % UNIT != 0 || offset < 0 || offset + bytes > (long) owner.length * UNIT) {
      throw new AssertionError("offset " + offset + " is not aligned or beyond the arena");
    }
    int from = units(offset);
    return new Range(from, from + Math.max(units(bytes), 1));
  }

  private static int units(long bytes) {
    return Math.toIntExact((bytes + UNIT - 1) / UNIT);
  }

  /**
   * The most bytes of activations that anybody still needs at one moment, in whole units, bytes
   * that two share counted once.
   */
  static long peakBytes(Graph graph, MemoryPlan plan) {
    Map<Tensor, int[]> life = new HashMap<>();
    List<Node> nodes = graph.nodes();
    for (int i = 0; i < nodes.size(); i++) {
      for (Tensor output : nodes.get(i).outputs()) {
        if (output.role() == Role.ACTIVATION) {
          life.put(output, new int[] {i, i});
        }
      }
      for (Tensor input : nodes.get(i).inputs()) {
        if (life.containsKey(input)) {
          life.get(input)[1] = i;
        }
      }
    }
    graph.results().stream().filter(life::containsKey).forEach(r -> life.get(r)[1] = nodes.size());
    long peak = 0;
    for (int i = 0; i <= nodes.size(); i++) {
      boolean[] used = new boolean[units(plan.arenaBytes())];
      for (Map.Entry<Tensor, int[]> entry : life.entrySet()) {
        if (entry.getValue()[0] <= i && i <= entry.getValue()[1]) {
          int from = units(plan.offset(entry.getKey()));
          int to = from + Math.max(units(entry.getKey().type().byteSize()), 1);
          Arrays.fill(used, from, to, true);
        }
      }
      long bytes = 0;
      for (boolean unit : used) {
        bytes += unit ? UNIT : 0;
      }
      peak = Math.max(peak, bytes);
    }
    return peak;
  }

  /** Where the last tensor or temporary ends, in whole units. */
  static long end(Graph graph, List<List<TensorType>> scratch, MemoryPlan plan) {
    long end = 0;
    for (int i = 0; i < graph.nodes().size(); i++) {
      for (Tensor output : graph.nodes().get(i).outputs()) {
        if (output.role() == Role.ACTIVATION) {
          end = Math.max(end, plan.offset(output) + MemoryPlan.align(output.type().byteSize()));
        }
      }
      for (int s = 0; s < scratch.get(i).size(); s++) {
        long bytes = scratch.get(i).get(s).byteSize();
        end = Math.max(end, plan.scratchOffset(i, s) + MemoryPlan.align(bytes));
      }
    }
    return end;
  }
}
