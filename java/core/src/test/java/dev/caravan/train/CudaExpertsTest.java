package dev.caravan.train;

import static dev.caravan.train.TinyRun.assertSameBits;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.LaunchMode;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.Stream;
import dev.caravan.train.TinyRun.Outcome;
import dev.caravan.train.log.ExpertMetrics;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Whole sparse models on the emulated GPU against the CPU. Choices of experts drop out where a group is full,
 * and both losses of the routers are on.
 */
@Tag("simt")
class CudaExpertsTest {
  private static final Device CUDA = Device.cuda(0);

  /** Tests that also run as if on other architectures. */
  private static final String ROUTES = "routes";

  /** AdamW's first steps follow a gradient's sign; a large eps makes them smooth. */
  private static final List<String> EXACT = List.of("precision=fp32", "optimizer.eps=1e-2");

  /** Several buffers a step, of unequal numbers of tokens: losses are weighted by them. */
  private static final String MANY = "train.examples_per_step=6";

  /** Small models with what is special about each family's sparse layers. */
  enum Family {
    GLAM(
        "model_type: glam, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 16",
        "experts={z_weight: 0.001, capacity_factor: 0.75, group_size: 16}"),
    MIXTRAL(
        "model_type: mixtral, num_local_experts: 5, num_experts_per_tok: 2, num_key_value_heads: 1",
        "experts={aux_loss: mixtral, z_weight: 0.01, capacity_factor: 1.0}"),
    QWEN3_MOE(
        "model_type: qwen3_moe, num_experts: 6, num_experts_per_tok: 3, moe_intermediate_size: 8,"
            + " num_key_value_heads: 1, head_dim: 8, norm_topk_prob: true, decoder_sparse_step: 2,"
            + " mlp_only_layers: [0]",
        "experts={aux_loss: switch}"),
    OLMOE(
        "model_type: olmoe, num_experts: 4, num_experts_per_tok: 4, num_key_value_heads: 2,"
            + " output_router_logits: true",
        "experts={z_weight: 0.001}"),
    QWEN2_MOE(
        "model_type: qwen2_moe, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 8,"
            + " shared_expert_intermediate_size: 12, num_key_value_heads: 1",
        "experts={aux_loss: olmoe, aux_weight: 0.02}");

    private final String config;
    private final String losses;

    Family(String config, String losses) {
      this.config = config;
      this.losses = losses;
    }

    String[] keys(List<String> first, String... more) {
      List<String> all = new ArrayList<>(first);
      all.add(
          "model={seed: 3, config: {vocab_size: 61, hidden_size: 16, intermediate_size: 24,"
              + " num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 64, "
              + config
              + "}}");
      all.add(losses);
      all.add("train.examples_per_step=4");
      all.add("train.micro_batch_tokens=32");
      all.addAll(List.of(more));
      return all.toArray(String[]::new);
    }

    String[] keys(String... more) {
      return keys(List.of(), more);
    }

    boolean drops() {
      return losses.contains("capacity_factor");
    }
  }

  @TempDir Path folder;

  @BeforeAll
  static void prepare() {
    Blas.install();
    assertTrue(CUDA.name().contains("emulation"), CUDA.name());
  }

  @AfterEach
  void defaultLaunches() {
    System.clearProperty(LaunchMode.PROPERTY);
  }

  private Outcome train(String... keys) throws IOException {
    return new TinyRun(folder, CUDA).train(1, keys);
  }

  @ParameterizedTest
  @EnumSource
  void lossAndGradientsOfAStepAgreeWithTheCpuInFloat32(Family family) {
    OneStep cpu = OneStep.on(Device.CPU, false, family.keys(EXACT, MANY));
    OneStep cuda = OneStep.on(CUDA, false, family.keys(EXACT, MANY));
    assertEquals(cpu.loss(), cuda.loss(), 1e-4 * cpu.loss());
    cpu.gradients()
        .forEach(
            (name, expected) -> {
              float[] got = cuda.gradients().get(name);
              double largest = 0;
              for (float value : expected) {
                largest = Math.max(largest, Math.abs(value));
              }
              assertTrue(largest > 0, name + " has no gradient");
              for (int i = 0; i < expected.length; i++) {
                assertEquals(expected[i], got[i], 1e-4 * largest, name + " element " + i);
              }
            });
  }

  /** Each unit is launched plainly the first time, recorded the second, replayed the third. */
  @ParameterizedTest
  @EnumSource(names = {"GLAM", "QWEN2_MOE"})
  void aStepThatIsReplayedGivesTheBitsOfItsPlainLaunches(Family family) {
    List<OneStep> steps = OneStep.on(CUDA, Products.ABI, false, 3, family.keys());
    for (OneStep step : steps) {
      assertEquals(steps.get(0).loss(), step.loss());
      steps
          .get(0)
          .gradients()
          .forEach((name, bits) -> assertArrayEquals(bits, step.gradients().get(name), name));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"GLAM", "QWEN2_MOE"})
  void stepsGiveTheLossesAndWeightsOfTheCpu(Family family) throws IOException {
    TinyRun host = new TinyRun(folder.resolve("cpu"), Device.CPU);
    TinyRun device = new TinyRun(folder.resolve("cuda"), CUDA);
    Outcome cpu = host.train(1, family.keys(EXACT));
    Outcome cuda = device.train(1, family.keys(EXACT));
    TinyRun.assertClose(cpu.losses(), cuda.losses(), 1e-4);
    TinyRun.assertClose(cpu.norms(), cuda.norms(), 1e-4);
    for (int i = 0; i < cpu.steps().size(); i++) {
      assertSameExperts(experts(cpu, i), experts(cuda, i));
    }
    assertEquals(family.drops(), experts(cuda, 0).dropShare() > 0);
    String last = "run/checkpoints/step-" + TinyRun.STEPS;
    Weights.assertClose(host.folder().resolve(last), device.folder().resolve(last), 1e-4);
  }

  /** Draws are a function of seed, step, layer and choice, whatever computes them. */
  @Test
  void secondChoicesAreDrawnAsOnTheCpu() throws IOException {
    String draws = "experts.second_expert=random";
    Outcome cpu =
        new TinyRun(folder.resolve("cpu"), Device.CPU).train(1, Family.OLMOE.keys(EXACT, draws));
    Outcome cuda =
        new TinyRun(folder.resolve("cuda"), CUDA).train(1, Family.OLMOE.keys(EXACT, draws));
    for (int i = 0; i < cpu.steps().size(); i++) {
      assertSameExperts(experts(cpu, i), experts(cuda, i));
    }
    assertTrue(experts(cpu, 0).dropShare() > 0);
    TinyRun.assertClose(cpu.losses(), cuda.losses(), 1e-4);
  }

  private static ExpertMetrics experts(Outcome run, int step) {
    StepMetrics metrics = run.steps().get(step);
    return metrics.experts().orElseThrow();
  }

  /** Counts are whole numbers, so they are the same; losses are not. */
  private static void assertSameExperts(ExpertMetrics expected, ExpertMetrics actual) {
    assertEquals(expected.layers().size(), actual.layers().size());
    for (int l = 0; l < expected.layers().size(); l++) {
      ExpertMetrics.Layer one = expected.layers().get(l);
      ExpertMetrics.Layer other = actual.layers().get(l);
      assertEquals(one.auxLoss(), other.auxLoss(), 1e-4 * one.auxLoss());
      assertEquals(one.zLoss(), other.zLoss(), 1e-4 * one.zLoss());
      assertEquals(one.loadMax(), other.loadMax());
      assertEquals(one.entropy(), other.entropy());
      assertEquals(one.dropShare(), other.dropShare());
      assertEquals(one.choices(), other.choices());
    }
  }

  @ParameterizedTest
  @EnumSource(names = "GLAM")
  void theLossFallsAndTwoRunsGiveTheSameBits(Family family) throws IOException {
    Outcome once = train(family.keys());
    double[] losses = once.losses();
    assertTrue(losses[losses.length - 1] < losses[0] - 0.1, Arrays.toString(losses));
    System.setProperty(LaunchMode.PROPERTY, "plain");
    assertSameBits(once, train(family.keys()));
  }

  @ParameterizedTest
  @EnumSource(names = {"GLAM", "QWEN2_MOE"})
  void everyRecomputePolicyGivesTheSameBits(Family family) {
    OneStep kept = OneStep.on(CUDA, false, family.keys("recompute=none"));
    for (String policy : new String[] {"selective", "full"}) {
      OneStep.on(CUDA, false, family.keys("recompute=" + policy))
          .gradients()
          .forEach((name, bits) -> assertArrayEquals(kept.gradients().get(name), bits, name));
    }
  }

  @ParameterizedTest
  @EnumSource
  @Tag(ROUTES)
  void lossAndGradientsOfAStepAreAsGoodAsTheCpusInBfloat16(Family family) {
    assertAsGoodAsTheCpu(family);
  }

  /** 1,024 rows of experts and a depth of 64: the least that the routes of capability 9.0 serve. */
  @ParameterizedTest
  @EnumSource(names = "GLAM")
  @Tag(ROUTES)
  void soAreThoseOfAModelLargeEnoughForWarpgroups(Family family) {
    assertAsGoodAsTheCpu(
        family,
        "model.config.hidden_size=64",
        "model.config.moe_intermediate_size=64",
        "train.examples_per_step=32",
        "train.micro_batch_tokens=512");
  }

  /** No further from float32 on the same weights than twice the CPU's kernels, and one rounding. */
  private static void assertAsGoodAsTheCpu(Family family, String... more) {
    String[] keys = Arrays.copyOf(more, more.length + 1);
    keys[more.length] = "precision=fp32";
    OneStep exact = OneStep.on(Device.CPU, true, family.keys(keys));
    keys[more.length] = "precision=bf16";
    OneStep cpu = OneStep.on(Device.CPU, true, family.keys(keys));
    OneStep cuda = OneStep.on(CUDA, true, family.keys(keys));
    double unit = 0x1p-8;
    assertEquals(
        exact.loss(),
        cuda.loss(),
        2 * Math.abs(cpu.loss() - exact.loss()) + unit * exact.loss());
    exact
        .gradients()
        .forEach(
            (name, expected) -> {
              double plain = OneStep.difference(cpu.gradients().get(name), expected);
              double error = OneStep.difference(cuda.gradients().get(name), expected);
              double most = 2 * plain + unit * OneStep.size(expected);
              assertTrue(error <= most, name + ": " + error + ", at most " + most);
            });
  }

  @ParameterizedTest
  @EnumSource
  void theDeviceHoldsWhatThePlanSays(Family family) {
    TinyRun runs = new TinyRun(folder, CUDA);
    for (String precision : new String[] {"fp32", "bf16"}) {
      RunConfig config = runs.config(family.keys("precision=" + precision));
      long before = Memory.heldBytes(Device.Kind.CUDA);
      try (Stream stream = Stream.open(CUDA, 1);
          Trainer trainer = runs.trainer(config, TinyRun.rows(40), stream)) {
        assertEquals(
            runs.plan(config, TinyRun.rows(40)).bytes().total(),
            Memory.heldBytes(Device.Kind.CUDA) - before,
            precision);
        assertEquals(0, trainer.done());
      }
      assertEquals(before, Memory.heldBytes(Device.Kind.CUDA));
    }
  }

  /** Weights grow beyond all bounds in the first step. */
  @ParameterizedTest
  @EnumSource(names = "MIXTRAL")
  void aValueThatIsNotFiniteIsLocatedByPlainLaunches(Family family) throws IOException {
    TinyRun runs = new TinyRun(folder, CUDA);
    RunConfig config =
        runs.config(family.keys("optimizer.lr=1e30", "optimizer.warmup_steps=0"));
    try (Stream stream = Stream.open(CUDA, 1);
        Trainer trainer = runs.trainer(config, TinyRun.rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      NonFinite failure =
          assertThrows(
              NonFinite.class, () -> trainer.run(new Trainer.Listener() {}, () -> false));
      assertTrue(
          failure.getMessage().matches("step [2-6]: .+ not finite, for examples .+"),
          failure.getMessage());
    }
  }
}
