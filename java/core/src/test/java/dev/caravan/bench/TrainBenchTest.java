package dev.caravan.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.RowSet;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunFile;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TrainBenchTest {
  private static final String RECIPE =
      """
      model:
        config: {model_type: llama, vocab_size: 64, hidden_size: 16, intermediate_size: 24,
          num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32,
          tie_word_embeddings: true}
        seed: 0
      sequence: {length: 16}
      train: {steps: 1000, tokens_per_step: 64}
      optimizer: {lr: 1e-3}
      """;

  @BeforeAll
  static void install() {
    Blas.install();
  }

  private static TrainBench.Result run(boolean profile, String... assignments) {
    RunConfig config = RunFile.parse(RECIPE, "a test", "bench", List.of(assignments));
    DeviceChoice choice = DeviceChoice.of("cpu", 2);
    try (Stream stream = Stream.open(Device.CPU, 2)) {
      return TrainBench.run(config, choice, stream, 3, profile);
    }
  }

  @Test
  void stepsAreTimedAndCounted() {
    long before = Memory.stats().liveBytes();
    TrainBench.Result result = run(false);
    assertEquals(3, result.seconds().size());
    assertEquals(64, result.stepTokens());
    assertEquals(16, result.sequence());
    assertEquals(64 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 24 + 2 * 16) + 16, result.parameters());
    assertTrue(result.deviceBytes() > 16 * result.parameters(), "weights, gradients, two moments");
    assertTrue(result.tokensPerSecond() > 0 && result.productShare() > 0);
    assertEquals(Optional.empty(), result.profile());
    assertEquals(before, Memory.stats().liveBytes());
  }

  @Test
  void itReallyTrains() {
    // The same steps again give the same losses; another learning rate gives others.
    assertEquals(run(false).losses(), run(false).losses());
    List<Double> still = run(false, "optimizer.lr=1e-9").losses();
    assertEquals(Math.log(64), still.get(0), 0.2);
    assertTrue(!still.equals(run(false).losses()));
  }

  @Test
  void bfloat16TakesLessMemory() {
    TrainBench.Result narrow = run(false, "precision=bf16");
    assertEquals(DType.BF16, narrow.storage());
    assertTrue(narrow.deviceBytes() < run(false).deviceBytes());
  }

  @Test
  void sharesOfAStepAddUpToOne() {
    TrainBench.Result result = run(true);
    Map<String, Double> shares = result.profile().orElseThrow();
    assertEquals(
        List.of("matrix products", "attention", "loss", "optimizer", StepProfile.REST),
        List.copyOf(shares.keySet()));
    double sum = 0;
    for (Map.Entry<String, Double> share : shares.entrySet()) {
      assertTrue(share.getValue() > 0, share.toString());
      sum += share.getValue();
    }
    assertEquals(1, sum, 1e-9);
    Map<String, Double> ops = result.ops().orElseThrow();
    for (String op : List.of("matmul_forward", "rmsnorm_backward", "adamw_step")) {
      assertTrue(ops.containsKey(op), ops.toString());
    }
  }

  @Test
  void randomRowsAreTheSameEachTimeAndFillTheSequence() {
    RowSet rows = TrainBench.randomRows(50, 9, 3);
    assertEquals(12, rows.size());
    assertEquals(9, rows.minLength());
    int[] ids = rows.row(11).inputIds();
    assertArrayEquals(ids, TrainBench.randomRows(50, 9, 3).row(11).inputIds());
    for (int id : ids) {
      assertTrue(id >= 0 && id < 50);
    }
  }

  @Test
  void theMedianOfAnEvenNumberLiesBetween() {
    TrainBench.Result result =
        new TrainBench.Result(
            1, 1, 10, DType.F32, List.of(4.0, 1.0, 2.0, 3.0), List.of(), 0, 0, 1,
            OptionalDouble.empty(), 1, Optional.empty(), Optional.empty());
    assertEquals(2.5, result.median());
    assertEquals(4, result.tokensPerSecond());
  }

  @Test
  void longStepsAreReplayedLessOften() {
    assertEquals(50, TrainBench.replays(0.01));
    assertEquals(8, TrainBench.replays(1.25));
    assertEquals(2, TrainBench.replays(60));
  }
}
