package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Autodiff, recompute, plan and executor on graphs that no model has. */
class RandomGraphsTest {
  private static final int GRAPHS = 150;
  private static final int DIFFERENTIATED = 40;

  private static Graph again(OpCase one, Recompute.Policy policy) {
    int forwardNodes = one.graph().nodes().size() - 1;
    return Recompute.apply(Autodiff.differentiate(one.graph()), forwardNodes, policy);
  }

  @Test
  void gradientsAgreeWithFiniteDifferences() {
    for (int seed = 0; seed < DIFFERENTIATED; seed++) {
      OpCase one = RandomGraphs.of(DType.F32, seed);
      GradientCheck.check(one.graph(), one.values(), new Random(seed));
    }
  }

  @Test
  void plansHoldUnderEveryPolicy() {
    for (DType storage : new DType[] {DType.F32, DType.BF16}) {
      for (int seed = 0; seed < GRAPHS; seed++) {
        for (Recompute.Policy policy : TinyLlama.POLICIES) {
          Graph graph = again(RandomGraphs.of(storage, seed), policy);
          Plan.Unit unit = new Plan(Map.of("unit", graph), Device.Kind.CPU).units().get("unit");
          PlanSimulation.run(graph, unit.scratch(), unit.memory());
        }
      }
    }
  }

  /**
   * The same bits whatever is computed again, and whatever must be kept: with every forward tensor
   * a result, none is taken over by another.
   */
  @Test
  void sharingMemoryChangesNoBit() {
    for (int seed = 0; seed < GRAPHS; seed++) {
      OpCase one = RandomGraphs.of(DType.F32, seed);
      Values values = one.values();
      Map<String, double[]> plain = gradients(again(one, Recompute.Policy.NONE), values);
      for (Recompute.Policy policy : TinyLlama.POLICIES) {
        assertSame(plain, gradients(again(one, policy), values), one + ", " + policy);
      }
      Node loss = one.graph().nodes().get(one.graph().nodes().size() - 1);
      for (Node node : one.graph().nodes()) {
        if (node != loss) {
          node.outputs().forEach(one.graph()::result);
        }
      }
      assertSame(plain, gradients(again(one, Recompute.Policy.NONE), values), one + ", all kept");
    }
  }

  private static Map<String, double[]> gradients(Graph graph, Values values) {
    Map<String, double[]> gradients = new LinkedHashMap<>();
    try (DeviceRun run = DeviceRun.of(graph, values, 1)) {
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        gradients.put(gradient.name(), run.value(gradient));
      }
    }
    return gradients;
  }

  private static void assertSame(
      Map<String, double[]> expected, Map<String, double[]> actual, String what) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach((name, bits) -> assertArrayEquals(bits, actual.get(name), what + ": " + name));
  }

  /**
   * Chains of gates magnify roundings a thousandfold, and gradients that cancel to zero keep those
   * of what cancelled, so the measure is the largest gradient of the graph; a wrong tensor is off
   * by all of it.
   */
  @Test
  void gradientsAgreeWithTheReferenceInFloat32() {
    for (int seed = 0; seed < GRAPHS; seed++) {
      OpCase one = RandomGraphs.of(DType.F32, seed);
      Graph graph = again(one, Recompute.Policy.SELECTIVE);
      Values values = one.values().copy();
      Map<String, double[]> actual = gradients(graph, values);
      new ReferenceExecutor(graph, values).run();
      double largest = 0;
      for (String name : actual.keySet()) {
        for (double gradient : values.get(name)) {
          largest = Math.max(largest, Math.abs(gradient));
        }
      }
      double bound = 0x1p-12 * largest;
      actual.forEach(
          (name, gradient) ->
              assertArrayEquals(values.get(name), gradient, bound, one + ": " + name));
    }
  }
}
