package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.RowStore;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.parallel.Turns;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What ranks send in a step is what the plan says. */
class WireBytesTest {
  /** Target rows for which logits exist at once, of a buffer of 64 tokens. */
  private static final int CHUNK = 8;

  private static final int CHUNKS = 8;

  private static final String DENSE = "model.config.model_type=llama";

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{data: 2}|61|none|false",
        "{data: 3, shard: optimizer}|61|full|false",
        "{data: 1, tensor: 2}|61|none|false",
        "{data: 1, tensor: 2}|62|full|false",
        "{data: 2, tensor: 2}|62|selective|false",
        "{data: 2, tensor: 2, shard: gradients}|62|none|false",
        "{data: 2, tensor: 2, shard: parameters}|62|full|false",
        "{data: 1, tensor: 2}|62|none|true",
        "{data: 2, tensor: 2}|61|full|true",
        "{data: 2, tensor: 2, shard: parameters}|62|selective|true",
        "{data: 4, expert: 2, shard: optimizer}|62|full|true",
        "{data: 2, tensor: 2, expert: 2}|62|none|true",
        "{data: 4, tensor: 2, expert: 2, shard: parameters}|62|full|true"
      })
  void aStepSendsWhatThePlanSays(
      String layout, int vocabulary, String recompute, boolean sparse) {
    assertPlanned(layout, vocabulary, recompute, sparse ? TinyRun.EXPERTS : DENSE, "adamw");
  }

  /** Norms over all heads send a number a row each way. */
  @ParameterizedTest
  @ValueSource(strings = {"{data: 1, tensor: 2}", "{data: 2, tensor: 2, shard: parameters}"})
  void normsOfAllHeadsArePlanned(String layout) {
    assertPlanned(layout, 62, "selective", TinyRun.OLMOE, "adamw");
  }

  /** Sums of columns and rows that are cut travel too, as many from each rank. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "{data: 1, tensor: 2}",
        "{data: 2, tensor: 2, shard: optimizer}",
        "{data: 2, tensor: 2, shard: parameters}"
      })
  void adafactorsSumsArePlanned(String layout) {
    assertPlanned(layout, 62, "none", DENSE, "adafactor");
    assertPlanned(layout, 62, "none", TinyRun.EXPERTS, "adafactor");
  }

  private void assertPlanned(
      String layout, int vocabulary, String recompute, String model, String optimizer) {
    Blas.install();
    TinyRun runs = new TinyRun(folder, Device.CPU);
    RunConfig config =
        runs.config(
            "parallel=" + layout,
            model,
            "model.config.vocab_size=" + vocabulary,
            "recompute=" + recompute,
            "optimizer.name=" + optimizer);
    RowStore rows = TinyRun.rows(40);
    Mesh mesh = ExpertSettings.mesh(config.parallel());
    RunPlan plan = runs.plan(config, rows);
    RankThreads.run(
        mesh,
        met -> {
          CountedRanks ranks = new CountedRanks(met);
          Step step = first(config, rows);
          try (Stream stream = Stream.open(Device.CPU, 1);
              Trainer trainer = runs.trainer(config, rows, stream, ranks)) {
            ranks.sent();
            trainer.step();
            Turns turns = new Turns(met.rank(Axis.DATA), mesh.data());
            int rounds = turns.rounds(step.microBatches());
            long left = plan.dividesVocabulary() ? leftOut(turns, rounds, step) : 0;
            assertEquals(plan.wireBytesPerStep(rounds) - left, ranks.sent());
          }
          return "done";
        });
  }

  /** The step that a run begins with. */
  private static Step first(RunConfig config, RowStore rows) {
    StepSource source =
        new StepSource(
            rows,
            ExampleOrder.shuffled(rows.size(), 17),
            StepSize.examples(config.train().examplesPerStep().orElseThrow()),
            TinyRun.shape(config, rows));
    Step step = source.newStep();
    source.fill(0, step);
    return step;
  }

  /** Statistics of chunks behind the last target, which are not sent: 12 bytes a row to one other rank. */
  private static long leftOut(Turns turns, int rounds, Step step) {
    long chunks = 0;
    for (int round = 0; round < rounds; round++) {
      int buffer = turns.buffer(round, step.microBatches());
      int targets = buffer == Turns.NONE ? 0 : step.microBatch(buffer).targets();
      chunks += CHUNKS - (targets + CHUNK - 1) / CHUNK;
    }
    return chunks * CHUNK * 3 * Float.BYTES;
  }
}
