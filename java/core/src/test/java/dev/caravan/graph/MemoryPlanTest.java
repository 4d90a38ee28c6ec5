package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class MemoryPlanTest {
  private static final long PAGE = 4096;
  private static final int RANDOM_GRAPHS = 500;

  /** A graph with the temporaries of its nodes. */
  private record Planned(Graph graph, List<List<TensorType>> scratch) {
    static Planned of(Graph graph) {
      return new Planned(graph, graph.nodes().stream().map(n -> List.<TensorType>of()).toList());
    }

    MemoryPlan plan() {
      return MemoryPlan.of(graph, scratch);
    }
  }

  private static void check(Graph graph, List<List<TensorType>> scratch, MemoryPlan plan) {
    PlanSimulation.run(graph, scratch, plan);
    assertEquals(PlanSimulation.end(graph, scratch, plan), plan.arenaBytes());
    assertEquals(PlanSimulation.peakBytes(graph, plan), plan.peakActivationBytes());
  }

  @Test
  void noNodeLosesAnInputInRandomGraphs() {
    for (int seed = 0; seed < RANDOM_GRAPHS; seed++) {
      Planned random = random(new Random(seed));
      check(random.graph, random.scratch, random.plan());
    }
  }

  /** Every kind of sharing that an op can ask for, in random order. */
  private static Planned random(Random random) {
    Graph graph = new Graph();
    List<Tensor> readable = new ArrayList<>();
    List<List<TensorType>> scratch = new ArrayList<>();
    Set<Tensor> shared = new HashSet<>(); // has views: adding in place would change them
    int nodes = 2 + random.nextInt(40);
    for (int n = 0; n < nodes; n++) {
      List<Tensor> inputs = new ArrayList<>();
      for (int i = random.nextInt(4); i > 0 && !readable.isEmpty(); i--) {
        inputs.add(readable.get(random.nextInt(readable.size())));
      }
      int kind = inputs.isEmpty() ? 0 : random.nextInt(5);
      Tensor first = inputs.isEmpty() ? null : inputs.get(0);
      boolean once = inputs.indexOf(first) == inputs.lastIndexOf(first);
      Op op;
      if (kind == 1 && once && !shared.contains(first)) {
        op = FakeOp.addsTo(0, first.type().byteSize());
        readable.remove(first);
      } else if (kind == 2) {
        op = FakeOp.views(0, first.type().byteSize());
        inputs.forEach(shared::add);
      } else if (kind == 3) {
        op = FakeOp.reuses(0, first.type().byteSize());
      } else if (kind == 4 && inputs.size() > 1) {
        op =
            new FakeOp(
                List.of(inputs.get(0).type(), inputs.get(1).type()),
                List.of(),
                List.of(),
                List.of(0, 1));
      } else {
        op = FakeOp.makes(bytes(random), bytes(random));
      }
      List<Tensor> made = graph.emit(op, inputs.toArray(Tensor[]::new));
      if (kind == 2) {
        shared.addAll(made);
      }
      readable.addAll(made);
      if (random.nextInt(3) == 0) {
        readable.remove(random.nextInt(readable.size()));
      }
      scratch.add(random.nextInt(4) == 0 ? List.of(TensorType.bytes(bytes(random))) : List.of());
    }
    for (Tensor tensor : readable) {
      if (random.nextInt(4) == 0) {
        graph.result(tensor);
      }
    }
    return new Planned(graph, scratch);
  }

  private static long bytes(Random random) {
    return random.nextInt(10) == 0 ? 0 : 1 + random.nextInt(6) * 200L;
  }

  @Test
  void tensorsThatAreNeverAliveTogetherShareBytes() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    Tensor b = graph.one(FakeOp.makes(PAGE), a);
    Tensor c = graph.one(FakeOp.makes(PAGE), b);
    MemoryPlan plan = Planned.of(graph).plan();
    assertEquals(2 * PAGE, plan.arenaBytes());
    assertEquals(2 * PAGE, plan.peakActivationBytes());
    assertEquals(plan.offset(a), plan.offset(c));
    assertNotEquals(plan.offset(a), plan.offset(b));
  }

  @Test
  void temporariesCountInTheArenaButNotAsActivations() {
    Graph graph = new Graph();
    graph.one(FakeOp.makes(PAGE));
    MemoryPlan plan = MemoryPlan.of(graph, List.of(List.of(TensorType.bytes(3 * PAGE))));
    assertEquals(4 * PAGE, plan.arenaBytes());
    assertEquals(PAGE, plan.peakActivationBytes());
  }

  @Test
  void aResultKeepsItsBytesToTheEnd() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    graph.result(a);
    Tensor b = graph.one(FakeOp.reuses(0, PAGE), a);
    Tensor c = graph.one(FakeOp.reuses(0, PAGE), b);
    MemoryPlan plan = Planned.of(graph).plan();
    assertNotEquals(plan.offset(a), plan.offset(b));
    assertEquals(plan.offset(b), plan.offset(c));
  }

  @Test
  void anOutputTakesOverOnlyAnInputThatNothingReadsLater() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    Tensor early = graph.one(FakeOp.reuses(0, PAGE), a);
    Tensor late = graph.one(FakeOp.reuses(0, PAGE), a);
    MemoryPlan plan = Planned.of(graph).plan();
    assertNotEquals(plan.offset(a), plan.offset(early));
    assertEquals(plan.offset(a), plan.offset(late));
  }

  @Test
  void anOutputTakesOverNoInputThatIsReadLaterThroughAView() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    Tensor view = graph.one(FakeOp.views(0, PAGE), a);
    Tensor b = graph.one(FakeOp.reuses(0, PAGE), a);
    graph.one(FakeOp.makes(PAGE), view, b);
    MemoryPlan plan = Planned.of(graph).plan();
    assertEquals(plan.offset(a), plan.offset(view));
    assertNotEquals(plan.offset(a), plan.offset(b));
  }

  @Test
  void anOutputTakesOverNoInputThatTheNodeReadsTwice() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    Tensor twice = graph.one(FakeOp.reuses(0, PAGE), a, a);
    Tensor view = graph.one(FakeOp.views(0, PAGE), twice);
    Tensor seen = graph.one(FakeOp.reuses(0, PAGE), twice, view);
    MemoryPlan plan = Planned.of(graph).plan();
    assertNotEquals(plan.offset(a), plan.offset(twice));
    assertNotEquals(plan.offset(twice), plan.offset(seen));
  }

  @Test
  void addingInPlaceToWhatIsReadLaterIsRefused() {
    Graph graph = new Graph();
    Tensor sum = graph.one(FakeOp.makes(PAGE));
    Tensor part = graph.one(FakeOp.makes(PAGE));
    graph.one(FakeOp.addsTo(1, PAGE), part, sum);
    graph.one(FakeOp.makes(PAGE), sum);
    IllegalStateException error =
        assertThrows(IllegalStateException.class, () -> Planned.of(graph).plan());
    assertTrue(error.getMessage().contains("adds in place"), error.getMessage());
    assertTrue(error.getMessage().contains("read later or otherwise"), error.getMessage());
  }

  @Test
  void addingInPlaceToAResultIsRefused() {
    Graph graph = new Graph();
    Tensor sum = graph.one(FakeOp.makes(PAGE));
    graph.result(sum);
    graph.one(FakeOp.addsTo(0, PAGE), sum);
    assertThrows(IllegalStateException.class, () -> Planned.of(graph).plan());
  }

  @Test
  void addingInPlaceToWhatTheNodeReadsOtherwiseIsRefused() {
    Graph graph = new Graph();
    Tensor sum = graph.one(FakeOp.makes(PAGE));
    graph.one(FakeOp.addsTo(0, PAGE), sum, sum);
    assertThrows(IllegalStateException.class, () -> Planned.of(graph).plan());
  }

  @Test
  void theSimulationSeesAPlanThatIsBroken() {
    Graph graph = new Graph();
    Tensor a = graph.one(FakeOp.makes(PAGE));
    Tensor b = graph.one(FakeOp.makes(PAGE));
    graph.one(FakeOp.makes(PAGE), a, b);
    Planned planned = Planned.of(graph);
    MemoryPlan plan = planned.plan();
    PlanSimulation.run(graph, planned.scratch, plan);
    AssertionError error =
        assertThrows(
            AssertionError.class,
            () ->
                PlanSimulation.run(graph, planned.scratch, plan, t -> plan.offset(t == b ? a : t)));
    assertTrue(error.getMessage().contains("is lost"), error.getMessage());
  }
}
