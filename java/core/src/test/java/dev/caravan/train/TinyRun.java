package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.RowStore;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;

/**
 * Training runs of a tiny model on a device.
 *
 * @param folder where their output goes
 * @param device that they run on
 */
record TinyRun(Path folder, Device device) {
  /** Longest row, in tokens. */
  static final int LENGTH = 24;

  /** Steps of a run. */
  static final int STEPS = 6;

  /** Rows that are evaluated on an emulated GPU, which takes thousands of times as long. */
  private static final int FEW_HELD_OUT = 6;

  /** Makes the model and the buffers smaller still: for an emulated GPU. */
  static final List<String> SMALLER =
      List.of(
          "model.config.num_hidden_layers=2",
          "model.config.hidden_size=16",
          "model.config.intermediate_size=24",
          "model.config.num_attention_heads=2",
          "model.config.num_key_value_heads=1",
          "train.examples_per_step=4",
          "train.micro_batch_tokens=32");

  private static final String SPARSE =
      "vocab_size: 61, hidden_size: 32, intermediate_size: 24, num_hidden_layers: 3,"
          + " num_attention_heads: 4, num_key_value_heads: 2, num_experts_per_tok: 2,"
          + " max_position_embeddings: 64}";

  /** Make the model one of sparse experts, the second with norms of q and k over all heads. */
  static final String EXPERTS =
      "model.config={model_type: mixtral, num_local_experts: 4, " + SPARSE;
  static final String OLMOE = "model.config={model_type: olmoe, num_experts: 4, " + SPARSE;

  private static final String MODEL =
      """
      model:
        seed: 3
        config: {model_type: llama, vocab_size: 61, hidden_size: 32, intermediate_size: 48,
                 num_hidden_layers: 3, num_attention_heads: 4, num_key_value_heads: 2,
                 max_position_embeddings: 64, rms_norm_eps: 1.0e-5, tie_word_embeddings: true,
                 hidden_act: silu}
      data: {path: unused.jsonl, format: tokens}
      """;

  /** What a run left behind. */
  record Outcome(List<StepMetrics> steps, byte[] weights, byte[] m, byte[] v) {
    double[] losses() {
      return steps.stream().mapToDouble(StepMetrics::loss).toArray();
    }

    double[] norms() {
      return steps.stream().mapToDouble(StepMetrics::gradNorm).toArray();
    }
  }

  /** Rows that can be learnt: every token is three more than the one before. */
  static RowStore rows(int count) {
    Random random = new Random(5);
    RowStore.Builder rows = new RowStore.Builder();
    rows.file("test.jsonl");
    for (int i = 0; i < count; i++) {
      int length = 2 + random.nextInt(LENGTH - 2);
      int start = random.nextInt(61);
      int[] ids = IntStream.range(0, length).map(t -> (start + 3 * t) % 61).toArray();
      int[] labels = ids.clone();
      Arrays.fill(labels, 0, random.nextInt(length - 1) + 1, -100);
      rows.add(ids, labels, length, i + 1);
    }
    return rows.build();
  }

  RunConfig config(String... assignments) {
    List<String> all =
        new ArrayList<>(
            List.of(
                "output=" + folder.resolve("run"),
                "sequence.length=" + LENGTH,
                "train.steps=" + STEPS,
                "train.examples_per_step=8",
                "train.micro_batch_tokens=64",
                "optimizer.lr=0.01",
                "optimizer.warmup_steps=2",
                "checkpoint.resume=never"));
    all.addAll(List.of(assignments));
    return RunFile.parse(MODEL, "test", "test", all);
  }

  static BufferShape shape(RunConfig config, RowStore rows) {
    return BufferShape.of(
        config.train().microBatchTokens().orElseThrow(),
        config.sequence().length(),
        config.sequence().packing(),
        rows.minLength(),
        0);
  }

  /** The plan for the device and two threads. */
  RunPlan plan(RunConfig config, RowStore rows) {
    return RunPlan.choose(
        ModelSource.of(config.model()).config(),
        config,
        shape(config, rows),
        device.kind(),
        2,
        1L << 30);
  }

  Trainer trainer(RunConfig config, RowStore rows, Stream stream) {
    return trainer(config, rows, stream, Collectives.ALONE);
  }

  Trainer trainer(RunConfig config, RowStore rows, Stream stream, Collectives ranks) {
    BufferShape shape = shape(config, rows);
    StepSize size = StepSize.examples(config.train().examplesPerStep().orElseThrow());
    StepSource source =
        new StepSource(rows, ExampleOrder.shuffled(rows.size(), 17), size, shape);
    Optional<Trainer.HeldOut> heldOut =
        Optional.of(
            new Trainer.HeldOut(
                new StepSource(rows, ExampleOrder.sequential(rows.size()), size, shape),
                device.kind() == Device.Kind.CPU ? rows.size() : FEW_HELD_OUT,
                0));
    return new Trainer(
        config,
        ModelSource.of(config.model()),
        plan(config, rows),
        source,
        heldOut.stream().toList(),
        config.train().steps().orElseThrow(),
        stream,
        ranks);
  }

  /** Trains to the end, or from the last checkpoint to the end with checkpoint.resume=auto. */
  Outcome train(int threads, String... assignments) throws IOException {
    RunConfig config = config(assignments);
    List<StepMetrics> steps = run(config, threads, () -> false);
    Path last = config.output().resolve("checkpoints/step-" + STEPS);
    return new Outcome(
        steps,
        Files.readAllBytes(last.resolve("model.safetensors")),
        Files.readAllBytes(last.resolve("trainer/m.safetensors")),
        Files.readAllBytes(last.resolve("trainer/v.safetensors")));
  }

  /** Trains four steps and stops. */
  void trainFour(String... assignments) throws IOException {
    List<StepMetrics> steps = new ArrayList<>();
    RunConfig config = config(assignments);
    assertEquals(4, run(config, steps, 2, () -> steps.size() == 4).size());
  }

  private List<StepMetrics> run(RunConfig config, int threads, BooleanSupplier stop)
      throws IOException {
    return run(config, new ArrayList<>(), threads, stop);
  }

  private List<StepMetrics> run(
      RunConfig config, List<StepMetrics> steps, int threads, BooleanSupplier stop)
      throws IOException {
    try (Stream stream = Stream.open(device, threads);
        Trainer trainer = trainer(config, rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      run.resumed().ifPresent(trainer::resume);
      trainer.run(
          new Trainer.Listener() {
            @Override
            public void step(StepMetrics metrics) {
              steps.add(metrics);
            }
          },
          stop);
    }
    return steps;
  }

  static void assertSameBits(Outcome expected, Outcome actual) {
    assertArrayEquals(expected.losses(), actual.losses(), "losses");
    assertArrayEquals(expected.weights(), actual.weights(), "weights");
    assertArrayEquals(expected.m(), actual.m(), "first moments");
    assertArrayEquals(expected.v(), actual.v(), "second moments");
  }

  static void assertClose(double[] expected, double[] actual, double relative) {
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], relative * Math.abs(expected[i]), "step " + (i + 1));
    }
  }
}
