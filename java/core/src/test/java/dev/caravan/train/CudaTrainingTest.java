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
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The whole CUDA path on the emulated GPU: memory, streams, plan, recorded units, kernels; products
 * by the ABI's own entry.
 */
@Tag("simt")
class CudaTrainingTest {
  private static final Device CUDA = Device.cuda(0);

  /** AdamW's first steps follow a gradient's sign; a large eps makes them smooth. */
  private static final String SMOOTH = "optimizer.eps=1e-2";

  /** Several buffers a step, so that the places of the double buffer are used again. */
  private static final String MANY = "train.examples_per_step=12";

  @TempDir static Path shared;

  /** A run with the defaults: bfloat16, recorded work replayed. */
  private static Outcome usual;

  @TempDir Path folder;

  @BeforeAll
  static void trainOnce() throws IOException {
    Blas.install();
    assertTrue(CUDA.name().contains("emulation"), CUDA.name());
    usual = new TinyRun(shared, CUDA).train(1, smaller());
  }

  @AfterEach
  void defaultLaunches() {
    System.clearProperty(LaunchMode.PROPERTY);
  }

  private static String[] smaller(String... more) {
    List<String> all = new ArrayList<>(TinyRun.SMALLER);
    all.addAll(List.of(more));
    return all.toArray(String[]::new);
  }

  private Outcome train(String... assignments) throws IOException {
    return new TinyRun(folder, CUDA).train(1, smaller(assignments));
  }

  @Test
  void lossAndGradientsOfAStepAgreeWithTheCpuInFloat32() {
    OneStep cpu = OneStep.on(Device.CPU, false, smaller("precision=fp32", MANY));
    OneStep cuda = OneStep.on(CUDA, false, smaller("precision=fp32", MANY));
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

  /** No further from float32 on the same weights than twice the CPU's kernels, and one rounding. */
  @Test
  void lossAndGradientsOfAStepAreAsGoodAsTheCpusInBfloat16() {
    OneStep exact = OneStep.on(Device.CPU, true, smaller("precision=fp32"));
    OneStep cpu = OneStep.on(Device.CPU, true, smaller("precision=bf16"));
    OneStep cuda = OneStep.on(CUDA, true, smaller("precision=bf16"));
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

  /** Each unit is launched plainly the first time, recorded the second, replayed the third. */
  @Test
  void aStepThatIsReplayedGivesTheBitsOfItsPlainLaunches() {
    List<OneStep> steps = OneStep.on(CUDA, Products.ABI, false, 3, smaller());
    for (OneStep step : steps) {
      assertEquals(steps.get(0).loss(), step.loss());
      steps
          .get(0)
          .gradients()
          .forEach((name, bits) -> assertArrayEquals(bits, step.gradients().get(name), name));
    }
  }

  @Test
  void theLossFallsAndTwoRunsGiveTheSameBits() throws IOException {
    double[] losses = usual.losses();
    assertTrue(losses[losses.length - 1] < losses[0] - 0.1, Arrays.toString(losses));
    assertSameBits(usual, train());
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "ranges", "wait"})
  void replayedWorkGivesTheBitsOfPlainLaunches(String mode) throws IOException {
    System.setProperty(LaunchMode.PROPERTY, mode);
    assertSameBits(usual, train());
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "selective", "full"})
  void everyRecomputePolicyGivesTheSameBits(String policy) throws IOException {
    assertSameBits(usual, train("recompute=" + policy));
  }

  @Test
  void aStoppedRunGoesOnWithTheSameBits() throws IOException {
    String[] rest = {"output=" + folder.resolve("stopped"), "checkpoint.resume=auto"};
    new TinyRun(folder, CUDA).trainFour(smaller(rest));
    Outcome resumed = train(rest);
    assertEquals(5, resumed.steps().get(0).step());
    assertArrayEquals(usual.weights(), resumed.weights());
    assertArrayEquals(usual.m(), resumed.m());
    assertArrayEquals(usual.v(), resumed.v());
  }

  /** A run may change devices at a checkpoint: the format is the same on both. */
  @Test
  void aRunGoesOnOnTheOtherDevice() throws IOException {
    String[] run = {"precision=fp32", SMOOTH};
    String[] moved = {
      "precision=fp32", SMOOTH, "output=" + folder.resolve("moved"), "checkpoint.resume=auto"
    };
    TinyRun cpu = new TinyRun(folder, Device.CPU);
    double[] expected = cpu.train(2, smaller(run)).losses();
    cpu.trainFour(smaller(moved));
    TinyRun.assertClose(
        Arrays.copyOfRange(expected, 4, expected.length), train(moved).losses(), 1e-4);
  }

  @Test
  void theDeviceHoldsWhatThePlanSays() {
    TinyRun runs = new TinyRun(folder, CUDA);
    for (String precision : new String[] {"fp32", "bf16"}) {
      RunConfig config = runs.config(smaller("precision=" + precision));
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

  @Test
  void aValueThatIsNotFiniteIsLocatedByPlainLaunches() throws IOException {
    TinyRun runs = new TinyRun(folder, CUDA);
    RunConfig config = runs.config(smaller("optimizer.lr=1e30", "optimizer.warmup_steps=0"));
    try (Stream stream = Stream.open(CUDA, 1);
        Trainer trainer = runs.trainer(config, TinyRun.rows(40), stream);
        RunFolder run = RunFolder.open(config)) {
      NonFinite failure =
          assertThrows(
              NonFinite.class, () -> trainer.run(new Trainer.Listener() {}, () -> false));
      assertTrue(
          failure
              .getMessage()
              .matches("step [2-6]: .+ward gives values that are not finite, for examples .+"),
          failure.getMessage());
    }
  }
}
