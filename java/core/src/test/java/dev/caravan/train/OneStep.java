package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.data.RowStore;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.nn.Inputs;
import dev.caravan.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Loss and gradients of one step of a tiny model, before any update.
 *
 * @param loss mean over the step's targets
 * @param gradients of each weight, by name
 */
record OneStep(double loss, Map<String, float[]> gradients) {
  /**
   * Computes one step of several micro-batches on a device.
   *
   * @param rounded whether float32 weights are first rounded to bfloat16: the exact values that a
   *     bfloat16 run begins with
   */
  static OneStep on(Device device, boolean rounded, String... assignments) {
    return on(device, Products.ABI, rounded, assignments);
  }

  /** The same with products by somebody. */
  static OneStep on(Device device, Products products, boolean rounded, String... assignments) {
    return on(device, products, rounded, 1, assignments).get(0);
  }

  /** The same step a number of times, on the same weights. */
  static List<OneStep> on(
      Device device, Products products, boolean rounded, int times, String... assignments) {
    TinyRun runs = new TinyRun(Path.of("unused"), device);
    RunConfig config = runs.config(assignments);
    RowStore rows = TinyRun.rows(40);
    RunPlan plan = runs.plan(config, rows);
    StepSource source =
        new StepSource(
            rows,
            ExampleOrder.shuffled(rows.size(), 17),
            StepSize.examples(config.train().examplesPerStep().orElseThrow()),
            plan.buffers());
    Step step = source.newStep();
    source.fill(0, step);
    try (Stream stream = Stream.open(device, 2);
        Executor executor = new Executor(plan.plan(), stream, products);
        StepState state =
            new StepState(
                executor.leaf(Inputs.STATE, TensorType.bytes(Inputs.STATE_BYTES)), device);
        InputBuffer inputs =
            new InputBuffer(plan.plan(), plan.inputs(), executor.inputs(), stream);
        TensorAccess access = TensorAccess.of(stream)) {
      ModelSource.of(config.model()).load(executor, plan.graphs().positions());
      if (rounded) {
        roundWeights(executor, access);
      }
      List<OneStep> steps = new ArrayList<>();
      for (int i = 0; i < times; i++) {
        steps.add(compute(executor, state, inputs, step, access));
      }
      return steps;
    }
  }

  private static OneStep compute(
      Executor executor, StepState state, InputBuffer inputs, Step step, TensorAccess access) {
    Stream stream = executor.stream();
    float inverseTokens = (float) (1.0 / step.inputTokens());
    state.begin(stream, 1, 17, 0, (float) (1.0 / step.targetTokens()), inverseTokens, 0);
    TensorRef all = executor.gradients();
    stream.fill(all.address(), 0, all.bytes());
    for (int i = 0; i < step.microBatches(); i++) {
      inputs.upload(step.microBatch(i));
      executor.run(TrainingStep.MICRO, step.microBatch(i).targets());
    }
    double loss = state.result(stream).lossSum() / step.targetTokens();
    Map<String, float[]> gradients = new LinkedHashMap<>();
    for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
      gradients.put(slot.name(), floats(executor.gradient(slot.name()), access));
    }
    return new OneStep(loss, gradients);
  }

  private static float[] floats(TensorRef tensor, TensorAccess access) {
    float[] values = new float[Math.toIntExact(tensor.elements())];
    access.read(tensor.address(), (int) tensor.bytes()).asFloatBuffer().get(values);
    return values;
  }

  private static void roundWeights(Executor executor, TensorAccess access) {
    TensorRef all = executor.weights();
    if (all.dtype() != DType.F32) {
      return;
    }
    float[] values = floats(all, access);
    ByteBuffer bytes = ByteBuffer.allocate((int) all.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      int bits = Float.floatToRawIntBits(value);
      bytes.putInt((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
    }
    access.write(all.address(), bytes.flip());
  }

  /** Root mean square of a tensor's difference to another's. */
  static double difference(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
    }
    return Math.sqrt(sum / a.length);
  }

  /** Root mean square of a tensor. */
  static double size(float[] a) {
    return difference(a, new float[a.length]);
  }
}
