package dev.caravan.kernels;

import static dev.caravan.kernels.Arena.assertNear;
import static dev.caravan.kernels.Arena.bytes;
import static dev.caravan.kernels.Arena.values;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The ops that share a step's state: loss, norm, optimizers. */
class StepTest {
  private Arena arena;
  private StepState state;

  @BeforeEach
  void open() {
    arena = new Arena(22);
    state = new StepState(arena.zeros(DType.U8, StepState.bytes()), Device.CPU);
  }

  @AfterEach
  void close() {
    state.close();
    arena.close();
  }

  @Test
  void crossEntropyOfAChunk() {
    TensorRef logits = arena.random(3, 4);
    TensorRef targets = arena.ints(3, 2, 0);
    TensorRef nll = arena.poisoned(3);
    double[] before = values(logits);
    state.begin(arena.stream, 1, 0, 0, 0.25f, 0);
    // Rows 1 and 2 of the targets are this chunk's 0 and 1; its row 2 is not in use.
    arena.run(CrossEntropy.forward(logits, targets, arena.ints(3), nll, state.ref(), 1, true));
    double loss = 0;
    double[] expected = new double[12];
    for (int row = 0; row < 2; row++) {
      double sum = 0;
      for (int i = 0; i < 4; i++) {
        sum += Math.exp(before[row * 4 + i]);
      }
      int target = row == 0 ? 2 : 0;
      loss += Math.log(sum) - before[row * 4 + target];
      assertEquals(Math.log(sum) - before[row * 4 + target], values(nll)[row + 1], 1e-5);
      for (int i = 0; i < 4; i++) {
        expected[row * 4 + i] =
            0.25 * (Math.exp(before[row * 4 + i]) / sum - (i == target ? 1 : 0));
      }
    }
    assertNear(expected, logits);
    assertEquals(loss, state.result(arena.stream).lossSum(), 1e-5);
  }

  @Test
  void crossEntropyOfPartsOfTheClasses() {
    TensorRef logits = arena.random(2, 4);
    double[] before = values(logits);
    TensorRef targets = arena.ints(4, 0);
    TensorRef count = arena.ints(2);
    double[][] sums = new double[2][2]; // by row and part: 5 classes, of which a part has 3
    TensorRef[] parts = new TensorRef[2];
    TensorRef statistics = arena.poisoned(2, 2, 3);
    for (int part = 0; part < 2; part++) {
      double[] own = new double[6];
      for (int i = 0; i < 6; i++) {
        int row = i / 3;
        own[i] = part == 0 ? before[4 * row + i % 3] : i % 3 == 0 ? before[4 * row + 3] : 0.5;
        sums[row][part] += part == 1 && i % 3 == 2 ? 0 : Math.exp(own[i]);
      }
      parts[part] = arena.floats(new long[] {2, 3}, own);
      TensorRef its =
          TensorRef.of(statistics.address() + part * 24, DType.F32, 2, 3);
      arena.run(CrossEntropy.statistics(parts[part], targets, count, its, 0, 3 * part, 5));
      for (int row = 0; row < 2; row++) {
        double sum = values(its)[3 * row + 1] * Math.exp(values(its)[3 * row]);
        assertEquals(sums[row][part], sum, 1e-5);
      }
    }
    for (int part = 0; part < 2; part++) {
      state.begin(arena.stream, 1, 0, 0, 0.25f, 0);
      double[] own = values(parts[part]);
      TensorRef nll = arena.poisoned(2);
      arena.run(
          CrossEntropy.forwardOfPart(
              parts[part], targets, count, nll, state.ref(), 0, true, statistics, 3 * part, 5));
      double[] gradient = new double[6];
      double loss = 0;
      for (int row = 0; row < 2; row++) {
        double sum = sums[row][0] + sums[row][1];
        double target = row == 0 ? 0.5 : before[4]; // class 4 is the second of the other part
        loss += Math.log(sum) - target;
        assertEquals(Math.log(sum) - target, values(nll)[row], 1e-5);
        for (int i = 0; i < 3; i++) {
          int label = row == 0 ? 4 : 0;
          double hit = 3 * part + i == label ? 1 : 0;
          double share = 3 * part + i < 5 ? Math.exp(own[3 * row + i]) / sum - hit : 0;
          gradient[3 * row + i] = 0.25 * share;
        }
      }
      assertNear(gradient, parts[part]);
      assertEquals(loss, state.result(arena.stream).lossSum(), 1e-5);
    }
  }

  @Test
  void globalNormClipsAndSaysWhetherAllIsFinite() {
    TensorRef grads = arena.floats(new long[] {4}, 3, 0, -4, 0);
    state.begin(arena.stream, 1, 0, 0, 1, 2);
    arena.run(GlobalNorm.forward(grads, state.ref()));
    StepState.Result result = state.result(arena.stream);
    assertEquals(5, result.gradNorm(), 1e-6);
    assertEquals(0.4, result.clipFactor(), 1e-6);
    assertTrue(result.finite());
    bytes(grads).putFloat(4, Float.NaN);
    arena.run(GlobalNorm.forward(grads, state.ref()));
    assertFalse(state.result(arena.stream).finite());
  }

  @Test
  void adamwStepsOnlyItsSegments() {
    TensorRef param = arena.floats(new long[] {4}, 1, 1, 1, 1);
    TensorRef grad = arena.floats(new long[] {4}, 0.5, -0.5, 0.5, 0.5);
    TensorRef m = arena.zeros(DType.F32, 4);
    TensorRef v = arena.zeros(DType.F32, 4);
    List<Adamw.Segment> list = List.of(new Adamw.Segment(0, 2, 1), new Adamw.Segment(2, 1, 0));
    assertEquals(48, Adamw.segmentBytes(2));
    TensorRef segments = arena.zeros(DType.U8, 48);
    Adamw.putSegments(bytes(segments), list);
    state.begin(arena.stream, 1, 0, 0.1f, 1, 0);
    arena.run(
        Adamw.step(param, null, grad, m, v, segments, state.ref(), 0.9f, 0.99f, 1e-8f, 0.01f));
    // After one step the corrected moments give the sign of the gradient.
    assertNear(new double[] {1 - 0.1 * (1 + 0.01), 1 - 0.1 * (-1 + 0.01), 1 - 0.1, 1}, param);
    assertNear(new double[] {0.05, -0.05, 0.05, 0}, m);
    assertNear(new double[] {0.0025, 0.0025, 0.0025, 0}, v);
  }

  @Test
  void adafactorKeepsMeansOfRowsAndColumns() {
    TensorRef param = arena.floats(new long[] {2, 2}, 1, 1, 1, 1);
    TensorRef grad = arena.floats(new long[] {2, 2}, 1, 2, 3, 4);
    TensorRef row = arena.zeros(DType.F32, 2);
    TensorRef col = arena.zeros(DType.F32, 2);
    state.begin(arena.stream, 1, 0, 0.1f, 1, 0);
    arena.run(
        Adafactor.step(
            param,
            null,
            grad,
            row,
            col,
            null,
            null,
            state.ref(),
            new Adafactor.Options(0, 0.8f, 1e-30f, 1e-3f, 1, 0, false)));
    // b2(1) = 0, so the second moment is the first gradient's own.
    assertNear(new double[] {2.5, 12.5}, row);
    assertNear(new double[] {5, 10}, col);
    double[] u = new double[4];
    double square = 0;
    for (int i = 0; i < 4; i++) {
      double moment = values(row)[i / 2] * values(col)[i % 2] / 7.5;
      u[i] = (i + 1) / Math.sqrt(moment);
      square += u[i] * u[i] / 4;
    }
    double scale = Math.max(1, Math.sqrt(square));
    for (int i = 0; i < 4; i++) {
      u[i] = 1 - 0.1 * u[i] / scale;
    }
    assertNear(u, param);
  }

  /** A parameter in two parts, of its rows or of its columns, takes the step of the whole one. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void partsOfAParameterAddUpWhatIsCut(int axis) {
    TensorRef whole = arena.floats(new long[] {2, 2}, 1, 2, 3, 4);
    TensorRef wholeGrad = arena.floats(new long[] {2, 2}, 1, 2, 3, 5);
    Adafactor.Options options = new Adafactor.Options(0, 0.8f, 1e-30f, 1e-3f, 0.5f, 0.1f, true);
    state.begin(arena.stream, 1, 0, 0.1f, 1, 0);
    arena.run(
        Adafactor.step(
            whole,
            null,
            wholeGrad,
            arena.zeros(DType.F32, 2),
            arena.zeros(DType.F32, 2),
            null,
            null,
            state.ref(),
            options));
    long[] shape = axis == 0 ? new long[] {1, 2} : new long[] {2, 1};
    TensorRef[] params = {
      arena.floats(shape, 1, axis == 0 ? 2 : 3), arena.floats(shape, axis == 0 ? 3 : 2, 4)
    };
    TensorRef[] grads = {
      arena.floats(shape, 1, axis == 0 ? 2 : 3), arena.floats(shape, axis == 0 ? 3 : 2, 5)
    };
    TensorRef[] rows = new TensorRef[2];
    TensorRef[] cols = new TensorRef[2];
    Adafactor.Part[] parts = new Adafactor.Part[2];
    long count = Adafactor.Part.sums(axis, true, shape);
    assertEquals(4, count);
    for (int i = 0; i < 2; i++) {
      rows[i] = arena.zeros(DType.F32, shape[0]);
      cols[i] = arena.zeros(DType.F32, shape[1]);
      TensorRef sums = arena.zeros(DType.F32, count);
      parts[i] = new Adafactor.Part(2, axis, sums, arena.zeros(DType.F32, 1));
    }
    for (Adafactor.Phase phase : Adafactor.Phase.values()) {
      for (int i = 0; i < 2; i++) {
        arena.run(
            Adafactor.step(
                params[i],
                null,
                grads[i],
                rows[i],
                cols[i],
                null,
                null,
                state.ref(),
                options,
                parts[i],
                phase));
      }
      if (phase == Adafactor.Phase.SUM) {
        addUp(parts[0].sums(), parts[1].sums());
      } else if (phase == Adafactor.Phase.MEASURE) {
        addUp(parts[0].squares(), parts[1].squares());
      }
    }
    double[] expected = values(whole);
    for (int i = 0; i < 2; i++) {
      int other = axis == 0 ? 2 * i + 1 : i + 2;
      int first = axis == 0 ? 2 * i : i;
      assertNear(new double[] {expected[first], expected[other]}, params[i]);
    }
  }

  /** Both get the sum. */
  private static void addUp(TensorRef one, TensorRef other) {
    double[] a = values(one);
    double[] b = values(other);
    for (int i = 0; i < a.length; i++) {
      bytes(one).putFloat(Float.BYTES * i, (float) (a[i] + b[i]));
      bytes(other).putFloat(Float.BYTES * i, (float) (a[i] + b[i]));
    }
  }

  @Test
  void aStepMakesNoNativeMemory() {
    TensorRef grads = arena.random(100);
    KernelCall norm = GlobalNorm.forward(grads, state.ref());
    long bytes = norm.workspaceBytes(Device.Kind.CPU);
    if (bytes > 0) {
      norm.workspace(arena.zeros(DType.U8, bytes).address(), bytes);
    }
    Memory.Stats before = Memory.stats();
    long pointers = Pointer.totalCount();
    for (int step = 1; step <= 50; step++) {
      state.begin(arena.stream, step, 0, 0.1f, 1, 1);
      norm.run(arena.stream);
      state.result(arena.stream);
    }
    assertEquals(before, Memory.stats());
    assertEquals(pointers, Pointer.totalCount());
    norm.close();
  }
}
