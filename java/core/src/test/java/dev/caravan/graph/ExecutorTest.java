package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelException;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ExecutorTest {
  private static final TinyLlama MODEL = TinyLlama.all().get(0);
  private static final int RUNS = 200;

  @BeforeAll
  static void blas() {
    Blas.install();
  }

  private static Plan plan(Graph graph) {
    return new Plan(Map.of("unit", graph), Device.Kind.CPU);
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void allocatesExactlyWhatThePlanSays(DType storage) {
    for (Recompute.Policy policy : TinyLlama.POLICIES) {
      Plan plan = plan(MODEL.train(storage, policy));
      long planned =
          plan.weightBytes() + plan.gradientBytes() + plan.leafBytes() + plan.arenaBytes();
      try (Stream stream = Stream.open(Device.CPU, 1)) {
        long before = Memory.stats().liveBytes();
        try (Executor executor = new Executor(plan, stream)) {
          assertEquals(planned, Memory.stats().liveBytes() - before, policy.toString());
          assertEquals(plan, executor.plan());
        }
        assertEquals(before, Memory.stats().liveBytes());
      }
    }
  }

  @Test
  void aRunAllocatesNothing() {
    Graph graph = MODEL.train(DType.F32, Recompute.Policy.SELECTIVE);
    Values values = MODEL.values(DType.F32, 41);
    int targets = (int) values.get("targets")[0];
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (DeviceRun run = DeviceRun.of(graph, values, 2)) {
      for (int i = 0; i < RUNS; i++) {
        run.run(targets);
      }
      long nativeBefore = Memory.stats().allocations();
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < RUNS; i++) {
        run.run(targets);
      }
      long after = threads.getCurrentThreadAllocatedBytes();
      assertEquals(nativeBefore, Memory.stats().allocations());
      assertTrue((after - before) / RUNS < 256, (after - before) / RUNS + " bytes a run");
    }
  }

  @Test
  void weightsGradientsAndInputsLieWhereTheyAreSaidTo() {
    Graph graph = MODEL.train(DType.BF16, Recompute.Policy.NONE);
    try (DeviceRun run = new DeviceRun(graph, 1)) {
      Executor executor = run.executor();
      for (FlatLayout.Slot slot : run.plan().weights().slots()) {
        long offset = slot.offset();
        long weight = executor.weight(slot.name()).address();
        assertEquals(executor.weights().address() + 2 * offset, weight);
        Tensor leaf = graph.leaf(slot.name());
        assertEquals(weight, executor.tensor("unit", leaf).address());
        Tensor gradient = graph.leaf(Autodiff.gradientName(slot.name()));
        assertEquals(
            executor.gradients().address() + 4 * offset,
            executor.tensor("unit", gradient).address());
      }
      for (Tensor input : graph.leaves(Role.INPUT)) {
        assertEquals(
            executor.inputs().address() + run.plan().leafOffset(input.name()),
            executor.leaf(input.name(), input.type()).address());
      }
      assertEquals(run.plan().weights().elements(), executor.remainders().elements());
    }
  }

  @Test
  void whatIsOnlyReadHasNoGradients() {
    try (DeviceRun run = new DeviceRun(MODEL.score(DType.BF16), 1)) {
      assertNull(run.executor().gradients());
      assertNull(run.executor().remainders());
    }
  }

  @Test
  void aFailureNamesItsNode() {
    Graph graph = MODEL.train(DType.F32, Recompute.Policy.NONE);
    Values values = MODEL.values(DType.F32, 42);
    values.get("positions")[3] = MODEL.config().maxPosition();
    try (DeviceRun run = new DeviceRun(graph, 1)) {
      run.load(values);
      KernelException error = assertThrows(KernelException.class, () -> run.run(values));
      assertTrue(error.getMessage().contains("layers.0/rope"), error.getMessage());
      assertTrue(error.getMessage().contains("positions"), error.getMessage());
    }
  }

  @Test
  void tracingVisitsEveryNodeThatComputesInOrder() {
    Graph graph = MODEL.train(DType.F32, Recompute.Policy.FULL);
    Values values = MODEL.values(DType.F32, 43);
    List<Node> seen = new ArrayList<>();
    try (DeviceRun run = DeviceRun.of(graph, values, 1);
        DeviceRun traced = new DeviceRun(graph, 1)) {
      traced.load(values);
      traced.executor().trace("unit", (int) values.get("targets")[0], seen::add);
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        assertArrayEquals(run.value(gradient), traced.value(gradient));
      }
    }
    assertEquals(
        graph.nodes().stream().filter(node -> !node.op().name().equals("view")).toList(), seen);
  }

  @Test
  void aFailureNamesWhatWasLaunchedOrWhereADevicesWasNoticed() {
    Plan plan = plan(MODEL.train(DType.F32, Recompute.Policy.NONE));
    for (String mode : new String[] {"plain", "wait"}) {
      System.setProperty(LaunchMode.PROPERTY, mode);
      try (Stream stream = Stream.open(Device.CPU, 1);
          Executor executor = new Executor(plan, stream)) {
        String lost = mode.equals("wait") ? "" : "noticed at ";
        assertEquals("update: bad", failure(executor, KernelException.invalid("bad")));
        assertEquals(lost + "update: gone", failure(executor, KernelException.lost("gone")));
      } finally {
        System.clearProperty(LaunchMode.PROPERTY);
      }
    }
  }

  private static String failure(Executor executor, KernelException thrown) {
    return assertThrows(
            thrown.getClass(),
            () ->
                executor.launch(
                    "update",
                    stream -> {
                      throw thrown;
                    }))
        .getMessage();
  }

  /** Larger than any address space, so that the system refuses it at once. */
  @Test
  void whatDoesNotFitIsRefusedAndNothingStaysBehind() {
    Graph graph = new Graph();
    graph.leaf("w", TensorType.f32(3, 4), Role.PARAMETER);
    graph.result(graph.one(FakeOp.makes(1L << 52)));
    Plan plan = plan(graph);
    try (Stream stream = Stream.open(Device.CPU, 1)) {
      long before = Memory.stats().liveBytes();
      KernelException error =
          assertThrows(KernelException.OutOfMemory.class, () -> new Executor(plan, stream));
      assertTrue(error.getMessage().startsWith("cpu: asked for "), error.getMessage());
      assertTrue(error.getMessage().contains("activations and workspaces"), error.getMessage());
      assertTrue(error.getMessage().contains(" bytes are free"), error.getMessage());
      assertEquals(before, Memory.stats().liveBytes());
    }
  }
}
