package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NcclCollectives;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Several ranks, each with a stream of the emulated GPU, train as one does: exchanges by the preset's binding
 * of NCCL, a stand-in behind it, recorded and replayed with the kernels.
 */
@Tag("simt")
class CudaRanksTest {
  private static final Device CUDA = Device.cuda(0);
  private static final int STEPS = 3;
  private static final String HEADS = "model.config.num_key_value_heads=2";
  private static final String EVEN = "model.config.vocab_size=62"; // else 61
  private static final String TENSOR = "parallel={data: 1, tensor: 2}";
  private static final String NARROW = "precision=bf16";

  @TempDir Path folder;

  @BeforeAll
  static void prepare() {
    Blas.install();
    assertTrue(CUDA.name().contains("emulation"), CUDA.name());
  }

  /** A run's losses and norms, step after step, and the bits of its weights. */
  private record Outcome(double[] curve, byte[] weights) {}

  private Outcome train(String name, String... more) throws IOException {
    TinyRun run = new TinyRun(folder.resolve(name), CUDA);
    List<String> all = new ArrayList<>(TinyRun.SMALLER);
    all.addAll(List.of("precision=fp32", "optimizer.eps=1e-2", "train.steps=" + STEPS));
    all.addAll(List.of(more));
    RunConfig config = run.config(all.toArray(String[]::new));
    List<StepMetrics> steps =
        RankThreads.run(ExpertSettings.mesh(config.parallel()), met -> steps(run, config, met));
    double[] curve =
        steps.stream().flatMapToDouble(s -> DoubleStream.of(s.loss(), s.gradNorm())).toArray();
    Path last = config.output().resolve("checkpoints/step-" + STEPS);
    return new Outcome(curve, Files.readAllBytes(last.resolve("model.safetensors")));
  }

  private static List<StepMetrics> steps(TinyRun run, RunConfig config, Collectives met) {
    List<StepMetrics> steps = new ArrayList<>();
    try (Stream stream = Stream.open(Device.cuda(met.rank(Axis.WORLD)), 1);
        Collectives joined = DeviceCollectives.join(stream, met).orElse(Collectives.ALONE);
        RunFolder output = met.rank(Axis.WORLD) == 0 ? RunFolder.open(config) : null;
        Trainer trainer = run.trainer(config, TinyRun.rows(40), stream, joined)) {
      met.barrier();
      trainer.run(
          new Trainer.Listener() {
            @Override
            public void step(StepMetrics metrics) {
              steps.add(metrics);
            }
          },
          () -> false);
    }
    return steps;
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "optimizer", "parameters"})
  void ranksOnGpusTrainAsOne(String shard) throws IOException {
    Outcome one = train("one");
    String parallel = "parallel={data: 2, shard: " + shard + "}";
    Outcome two = train("two", parallel);
    TinyRun.assertClose(one.curve(), two.curve(), 1e-5);
    assertArrayEquals(two.weights(), train("again", parallel).weights(), "from run to run");
  }

  /** Some rows find no place, the same ones as on one. What the host counts is never recorded. */
  @ParameterizedTest
  @ValueSource(strings = {"padded", "exact"})
  void ranksOnGpusThatShareExpertsTrainAsOne(String exchange) throws IOException {
    List<String> common =
        List.of(
            "model.config.model_type=mixtral",
            "model.config.num_local_experts=4",
            "model.config.num_experts_per_tok=2",
            "experts={aux_loss: none, capacity_factor: 0.75}");
    List<String> all = new ArrayList<>(common);
    all.add("parallel={data: 2, expert: 2, expert_exchange: " + exchange + "}");
    String[] shared = all.toArray(String[]::new);
    Outcome one = train("one", common.toArray(String[]::new));
    Outcome two = train("two", shared);
    TinyRun.assertClose(one.curve(), two.curve(), 1e-5);
    assertArrayEquals(two.weights(), train("again", shared).weights(), "from run to run");
  }

  /**
   * With some of the heads and of the vocabulary each. In bfloat16 they are no further from float32 than
   * twice as far as one rank is.
   */
  @Test
  void ranksOnGpusShareEachMatrix() throws IOException {
    double[] one = train("one", HEADS, EVEN).curve();
    Outcome two = train("two", HEADS, EVEN, TENSOR);
    TinyRun.assertClose(one, two.curve(), 1e-5);
    assertArrayEquals(
        two.weights(), train("again", HEADS, EVEN, TENSOR).weights(), "from run to run");

    double bound = 2 * error(one, train("narrow", HEADS, EVEN, NARROW).curve());
    double error = error(one, train("both narrow", HEADS, EVEN, NARROW, TENSOR).curve());
    assertTrue(error <= bound, error + ", needs at most " + bound);
  }

  /** Some of the width of each expert on each rank. */
  @Test
  void ranksOnGpusShareEachExpert() throws IOException {
    assertShared(
        HEADS,
        "model.config.model_type=mixtral",
        "model.config.num_local_experts=4",
        "model.config.num_experts_per_tok=2");
  }

  /** With norms of q and k over the heads of both. */
  @Test
  void ranksOnGpusShareRowsOfANorm() throws IOException {
    assertShared(
        HEADS,
        EVEN,
        "model.config.model_type=olmoe",
        "model.config.num_hidden_layers=1",
        "model.config.num_experts=4",
        "model.config.num_experts_per_tok=2");
  }

  /** With some of the table of relative positions, too, and sums for the means of what is cut. */
  @Test
  void ranksOnGpusShareGlamAndTrainByAdafactor() throws IOException {
    String glam =
        "model.config={model_type: glam, vocab_size: 62, hidden_size: 16, intermediate_size: 24,"
            + " num_hidden_layers: 2, num_attention_heads: 2, head_dim: 8, num_experts: 4,"
            + " num_experts_per_tok: 2, moe_intermediate_size: 12, max_position_embeddings: 64,"
            + " relative_attention_num_buckets: 8, relative_attention_max_distance: 20}";
    assertShared(glam, "optimizer.name=adafactor");
  }

  /** Some of the width of some of the experts on each of four; some rows find no place. */
  @Test
  void aGridOfGpusTrainsAsOne() throws IOException {
    List<String> all =
        new ArrayList<>(
            List.of(
                HEADS,
                "model.config.model_type=mixtral",
                "model.config.num_local_experts=4",
                "model.config.num_experts_per_tok=2",
                "experts={aux_loss: none, capacity_factor: 0.75}"));
    double[] one = train("one", all.toArray(String[]::new)).curve();
    all.add("parallel={data: 2, tensor: 2, expert: 2, expert_exchange: padded}");
    TinyRun.assertClose(one, train("grid", all.toArray(String[]::new)).curve(), 1e-5);
  }

  private void assertShared(String... model) throws IOException {
    List<String> all = new ArrayList<>(List.of(model));
    all.add(TENSOR);
    String[] shared = all.toArray(String[]::new);
    double[] one = train("one", model).curve();
    Outcome two = train("two", shared);
    TinyRun.assertClose(one, two.curve(), 1e-5);
    assertArrayEquals(two.weights(), train("again", shared).weights(), "from run to run");
  }

  @Test
  void anOddVocabularyStaysWholeOnGpus() throws IOException {
    double[] one = train("one", HEADS).curve();
    TinyRun.assertClose(one, train("two", HEADS, TENSOR).curve(), 1e-5);
  }

  /** The largest relative difference. */
  private static double error(double[] expected, double[] actual) {
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(actual[i] - expected[i]) / Math.abs(expected[i]));
    }
    return largest;
  }

  /** The id of a group of GPUs travels as numbers. */
  @Test
  void theFirstRanksBytesReachAll() {
    byte[] id = new byte[NcclCollectives.ID_BYTES];
    new Random().nextBytes(id);
    RankThreads.run(
        new Mesh(3, 1),
        met -> {
          boolean first = met.rank(Axis.WORLD) == 0;
          assertArrayEquals(id, DeviceCollectives.tell(met, Axis.WORLD, first ? id : null));
          return null;
        });
  }
}
