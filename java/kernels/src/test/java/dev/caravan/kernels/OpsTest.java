package dev.caravan.kernels;

import static dev.caravan.kernels.Arena.assertNear;
import static dev.caravan.kernels.Arena.bytes;
import static dev.caravan.kernels.Arena.values;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Every prepared call once, with all of its arguments, against the formula in plain Java: that each
 * argument reaches its field. How exact the kernels are is for the native tests.
 */
class OpsTest {
  private Arena arena;

  @BeforeAll
  static void installBlas() {
    Blas.install();
    Blas.install();
  }

  @BeforeEach
  void open() {
    arena = new Arena(20);
  }

  @AfterEach
  void close() {
    arena.close();
  }

  @Test
  void add() {
    TensorRef a = arena.random(3, 5);
    TensorRef b = arena.random(3, 5);
    TensorRef out = arena.poisoned(3, 5);
    arena.run(Elementwise.add(a, b, out));
    double[] expected = values(a);
    for (int i = 0; i < expected.length; i++) {
      expected[i] += values(b)[i];
    }
    assertNear(expected, out);
  }

  @Test
  void aWatchHearsOfEveryCallUntilItIsTakenAway() {
    List<String> heard = new ArrayList<>();
    arena.stream.watch(
        new CallWatch() {
          @Override
          public void before(KernelCall call) {
            heard.add("before " + call.op());
          }

          @Override
          public void after(KernelCall call) {
            heard.add("after " + call.op());
          }
        });
    TensorRef a = arena.random(3, 5);
    arena.run(Elementwise.add(a, a, arena.poisoned(3, 5)));
    KernelCall refused = Elementwise.add(a, arena.random(5, 3), arena.poisoned(3, 5));
    assertThrows(KernelException.InvalidArgument.class, () -> arena.run(refused));
    arena.stream.watch(null);
    arena.run(Elementwise.add(a, a, arena.poisoned(3, 5)));
    assertEquals(
        List.of("before add_forward", "after add_forward", "before add_forward"), heard);
  }

  @Test
  void castRoundsToTheUpperHalf() {
    TensorRef x = arena.floats(new long[] {3}, 1, -2.5, 1 + 1.0 / 512);
    TensorRef half = arena.zeros(DType.BF16, 3);
    arena.run(Elementwise.cast(x, half));
    assertEquals((short) 0x3f80, bytes(half).getShort(0));
    assertEquals((short) 0xc020, bytes(half).getShort(2));
    assertEquals((short) 0x3f80, bytes(half).getShort(4));
    TensorRef back = arena.poisoned(3);
    arena.run(Elementwise.cast(half, back));
    assertNear(new double[] {1, -2.5, 1}, back);
  }

  @Test
  void bias() {
    TensorRef x = arena.random(4, 3);
    TensorRef bias = arena.random(3);
    TensorRef y = arena.poisoned(4, 3);
    arena.run(Elementwise.biasForward(x, bias, y));
    double[] expected = values(x);
    double[] sums = new double[3];
    for (int i = 0; i < 12; i++) {
      sums[i % 3] += expected[i];
      expected[i] += values(bias)[i % 3];
    }
    assertNear(expected, y);
    TensorRef dBias = arena.zeros(DType.F32, 3);
    arena.run(Elementwise.biasBackward(x, dBias));
    assertNear(sums, dBias);
  }

  @Test
  void matMulWithTransposesFactorsAndRows() {
    TensorRef a = arena.random(5, 4);
    TensorRef b = arena.random(6, 5);
    TensorRef c = arena.random(4, 6);
    double[] expected = values(c);
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 6; j++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
          sum += values(a)[k * 4 + i] * values(b)[j * 5 + k];
        }
        expected[i * 6 + j] = 0.5 * sum + 2 * expected[i * 6 + j];
      }
    }
    arena.run(MatMul.forward(a, true, b, true, c, arena.ints(3), 0.5f, 2));
    assertNear(expected, c);
  }

  @Test
  void embedding() {
    TensorRef ids = arena.ints(2, 0, 2);
    TensorRef table = arena.random(4, 3);
    TensorRef out = arena.poisoned(3, 3);
    arena.run(Embedding.forward(ids, table, out));
    double[] t = values(table);
    assertNear(new double[] {t[6], t[7], t[8], t[0], t[1], t[2], t[6], t[7], t[8]}, out);

    TensorRef dTable = arena.zeros(DType.F32, 4, 3);
    arena.run(Embedding.backward(ids, out, dTable, arena.ints(2)));
    assertNear(new double[] {t[0], t[1], t[2], 0, 0, 0, t[6], t[7], t[8], 0, 0, 0}, dTable);

    TensorRef outside = arena.ints(0, 4, 0);
    KernelException error =
        assertThrows(
            KernelException.InvalidArgument.class,
            () -> arena.run(Embedding.forward(outside, table, out)));
    assertTrue(error.getMessage().startsWith("embedding_forward: ids"), error.getMessage());
  }

  @Test
  void gatherAndItsGradient() {
    TensorRef x = arena.random(5, 2);
    TensorRef rows = arena.ints(4, 1, 0);
    TensorRef count = arena.ints(3);
    TensorRef out = arena.poisoned(3, 2);
    arena.run(Gather.forward(x, rows, count, out, 1));
    double[] v = values(x);
    assertNear(new double[] {v[2], v[3], v[0], v[1], 0, 0}, out);
    TensorRef dX = arena.zeros(DType.F32, 5, 2);
    arena.run(Gather.backward(dX, rows, count, out, 1));
    assertNear(new double[] {v[0], v[1], v[2], v[3], 0, 0, 0, 0, 0, 0}, dX);
  }

  @Test
  void rmsNormWithResidual() {
    final int d = 6;
    TensorRef x = arena.random(2, d);
    TensorRef residual = arena.random(2, d);
    TensorRef weight = arena.random(d);
    TensorRef y = arena.poisoned(2, d);
    TensorRef sum = arena.poisoned(2, d);
    TensorRef rstd = arena.poisoned(2);
    arena.run(RmsNorm.forward(x, residual, weight, y, sum, rstd, 0.25f, 1));
    double[] h = values(x);
    double[] expected = new double[2 * d];
    double[] rstds = new double[2];
    for (int r = 0; r < 2; r++) {
      double squares = 0;
      for (int i = 0; i < d; i++) {
        h[r * d + i] += values(residual)[r * d + i];
        squares += h[r * d + i] * h[r * d + i];
      }
      rstds[r] = 1 / Math.sqrt(squares / d + 0.25);
      for (int i = 0; i < d; i++) {
        expected[r * d + i] = h[r * d + i] * rstds[r] * (1 + values(weight)[i]);
      }
    }
    assertNear(expected, y);
    assertNear(h, sum);
    assertNear(rstds, rstd);

    TensorRef dY = arena.random(2, d);
    TensorRef dSum = arena.random(2, d);
    TensorRef dX = arena.poisoned(2, d);
    TensorRef dWeight = arena.zeros(DType.F32, d);
    arena.run(RmsNorm.backward(dY, sum, weight, rstd, dSum, dX, dWeight, 1));
    double[] expectedX = new double[2 * d];
    double[] expectedWeight = new double[d];
    for (int r = 0; r < 2; r++) {
      double mean = 0;
      for (int i = 0; i < d; i++) {
        double n = h[r * d + i] * rstds[r];
        mean += values(dY)[r * d + i] * (1 + values(weight)[i]) * n / d;
        expectedWeight[i] += values(dY)[r * d + i] * n;
      }
      for (int i = 0; i < d; i++) {
        double g = values(dY)[r * d + i] * (1 + values(weight)[i]);
        double n = h[r * d + i] * rstds[r];
        expectedX[r * d + i] = rstds[r] * (g - n * mean) + values(dSum)[r * d + i];
      }
    }
    assertNear(expectedX, dX);
    assertNear(expectedWeight, dWeight);
  }

  /** The other half of the row is 0: its sums are those of this one. */
  @Test
  void rmsNormOfAPartIsThatOfTheWholeRow() {
    int d = 6;
    TensorRef x = arena.random(2, d);
    TensorRef weight = arena.random(d);
    TensorRef dY = arena.random(2, d);
    TensorRef squares = arena.poisoned(2);
    TensorRef dots = arena.poisoned(2);
    arena.run(RmsNorm.rowDot(x, x, null, squares, 0));
    arena.run(RmsNorm.rowDot(dY, x, weight, dots, 1));
    double[] expectedSquares = new double[2];
    double[] expectedDots = new double[2];
    for (int i = 0; i < 2 * d; i++) {
      expectedSquares[i / d] += values(x)[i] * values(x)[i];
      expectedDots[i / d] += values(dY)[i] * (1 + values(weight)[i % d]) * values(x)[i];
    }
    assertNear(expectedSquares, squares);
    assertNear(expectedDots, dots);

    TensorRef y = arena.poisoned(2, d);
    TensorRef rstd = arena.poisoned(2);
    arena.run(RmsNorm.forwardOfPart(x, weight, squares, 2 * d, y, rstd, 0.25f, 1));
    TensorRef dX = arena.poisoned(2, d);
    TensorRef dWeight = arena.zeros(DType.F32, d);
    arena.run(RmsNorm.backwardOfPart(dY, x, weight, rstd, dots, 2 * d, null, dX, dWeight, 1));
    double[] expectedY = new double[2 * d];
    double[] expectedX = new double[2 * d];
    double[] expectedWeight = new double[d];
    for (int i = 0; i < 2 * d; i++) {
      double itsRstd = 1 / Math.sqrt(expectedSquares[i / d] / (2 * d) + 0.25);
      double n = values(x)[i] * itsRstd;
      double factor = 1 + values(weight)[i % d];
      expectedY[i] = n * factor;
      expectedWeight[i % d] += values(dY)[i] * n;
      expectedX[i] =
          itsRstd * (values(dY)[i] * factor - n * expectedDots[i / d] * itsRstd / (2 * d));
    }
    assertNear(expectedY, y);
    assertNear(expectedX, dX);
    assertNear(expectedWeight, dWeight);
  }

  @Test
  void ropeTurnsAndTurnsBackInBothLayouts() {
    for (Rope.Layout layout : Rope.Layout.values()) {
      TensorRef x = arena.random(2, 1, 4);
      TensorRef y = arena.poisoned(2, 1, 4);
      TensorRef positions = arena.ints(1, 0);
      TensorRef cos = arena.floats(new long[] {2, 2}, 1, 1, Math.cos(0.3), Math.cos(0.7));
      TensorRef sin = arena.floats(new long[] {2, 2}, 0, 0, Math.sin(0.3), Math.sin(0.7));
      arena.run(Rope.forward(x, y, positions, cos, sin, layout));
      double[] expected = values(x);
      for (int pair = 0; pair < 2; pair++) {
        int i = layout == Rope.Layout.HALF ? pair : 2 * pair;
        int j = layout == Rope.Layout.HALF ? pair + 2 : 2 * pair + 1;
        double angle = pair == 0 ? 0.3 : 0.7;
        double a = values(x)[i];
        double b = values(x)[j];
        expected[i] = a * Math.cos(angle) - b * Math.sin(angle);
        expected[j] = a * Math.sin(angle) + b * Math.cos(angle);
      }
      assertNear(expected, y);
      TensorRef back = arena.poisoned(2, 1, 4);
      arena.run(Rope.backward(y, back, positions, cos, sin, layout));
      assertNear(values(x), back);
    }
  }

  @Test
  void gatedUnits() {
    TensorRef gate = arena.random(2, 3);
    TensorRef up = arena.random(2, 3);
    TensorRef dOut = arena.random(2, 3);
    TensorRef out = arena.poisoned(2, 3);
    TensorRef dGate = arena.poisoned(2, 3);
    TensorRef dUp = arena.poisoned(2, 3);

    arena.run(Swiglu.forward(gate, up, out));
    arena.run(Swiglu.backward(dOut, gate, up, dGate, dUp));
    assertUnit(OpsTest::silu, gate, up, dOut, out, dGate, dUp);

    arena.run(Swiglu.gegluForward(gate, up, out, true));
    arena.run(Swiglu.gegluBackward(dOut, gate, up, dGate, dUp, true));
    assertUnit(OpsTest::geluByTanh, gate, up, dOut, out, dGate, dUp);
  }

  private static void assertUnit(
      DoubleUnaryOperator unit,
      TensorRef gate,
      TensorRef up,
      TensorRef dOut,
      TensorRef out,
      TensorRef dGate,
      TensorRef dUp) {
    double[] expected = values(gate);
    double[] expectedGate = values(gate);
    double[] expectedUp = values(gate);
    for (int i = 0; i < expected.length; i++) {
      double g = values(gate)[i];
      double slope = (unit.applyAsDouble(g + 1e-5) - unit.applyAsDouble(g - 1e-5)) / 2e-5;
      expected[i] = unit.applyAsDouble(g) * values(up)[i];
      expectedGate[i] = values(dOut)[i] * values(up)[i] * slope;
      expectedUp[i] = values(dOut)[i] * unit.applyAsDouble(g);
    }
    assertNear(expected, out);
    assertNear(expectedGate, dGate);
    assertNear(expectedUp, dUp);
  }

  private static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  private static double geluByTanh(double x) {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  }
}
