package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Memory plans of real graphs, with the workspaces that the CPU's kernels ask for. */
class ModelPlansTest {
  private static Plan plan(Graph graph) {
    return new Plan(Map.of("unit", graph), Device.Kind.CPU);
  }

  private static void check(Graph graph) {
    Plan.Unit unit = plan(graph).units().get("unit");
    PlanSimulation.run(graph, unit.scratch(), unit.memory());
    assertEquals(
        PlanSimulation.end(graph, unit.scratch(), unit.memory()), unit.memory().arenaBytes());
    assertEquals(
        PlanSimulation.peakBytes(graph, unit.memory()), unit.memory().peakActivationBytes());
  }

  @Test
  void noNodeOfAModelLosesAnInput() {
    for (DType storage : List.of(DType.F32, DType.BF16)) {
      for (TinyLlama model : TinyLlama.all()) {
        for (Recompute.Policy policy : TinyLlama.POLICIES) {
          check(model.train(storage, policy));
        }
        check(model.score(storage));
        check(model.graphs(storage).decode(1, 8));
        check(model.graphs(storage).decode(4, 8));
      }
    }
  }

  @Test
  void noNodeAroundASingleOpLosesAnInput() {
    for (DType storage : List.of(DType.F32, DType.BF16)) {
      for (OpCase one : OpCases.all(storage)) {
        check(Autodiff.differentiate(one.graph()));
      }
    }
  }

  @Test
  void computingMoreAgainTakesFewerBytes() {
    TinyLlama model = TinyLlama.all().get(0);
    long none = bytes(model, Recompute.Policy.NONE);
    long selective = bytes(model, Recompute.Policy.SELECTIVE);
    long full = bytes(model, Recompute.Policy.FULL);
    assertTrue(full < selective && selective < none, full + ", " + selective + ", " + none);
  }

  private static long bytes(TinyLlama model, Recompute.Policy policy) {
    return plan(model.train(DType.F32, policy)).activationBytes();
  }
}
