package dev.caravan.kernels;

import static dev.caravan.kernels.Arena.assertNear;
import static dev.caravan.kernels.Arena.values;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Attention on two packed documents, against the formula in plain Java. */
class AttentionTest {
  private static final int TOKENS = 5;
  private static final int HEADS = 2;
  private static final int WIDTH = 8;
  private static final int[] BORDERS = {0, 2, 5};

  private Arena arena;

  @BeforeAll
  static void installBlas() {
    Blas.install();
  }

  @BeforeEach
  void open() {
    arena = new Arena(21);
  }

  @AfterEach
  void close() {
    arena.close();
  }

  /** out, then the gradients of sum(out * dOut) by finite differences where wanted. */
  private static double[] reference(
      double[] q, double[] k, double[] v, double[] lse, Attention.Options options) {
    double[] out = new double[TOKENS * HEADS * WIDTH];
    for (int document = 0; document + 1 < BORDERS.length; document++) {
      for (int i = BORDERS[document]; i < BORDERS[document + 1]; i++) {
        for (int h = 0; h < HEADS; h++) {
          double total = 0;
          double[] sums = new double[WIDTH];
          for (int j = BORDERS[document]; j < BORDERS[document + 1]; j++) {
            boolean hidden =
                (options.causal() && j > i)
                    || (options.windowLeft() >= 0 && i - j > options.windowLeft())
                    || (options.windowRight() >= 0 && j - i > options.windowRight());
            if (hidden) {
              continue;
            }
            double score = 0;
            for (int n = 0; n < WIDTH; n++) {
              score += q[(i * HEADS + h) * WIDTH + n] * k[j * WIDTH + n];
            }
            score *= options.scale();
            if (options.softCap() > 0) {
              score = options.softCap() * Math.tanh(score / options.softCap());
            }
            double weight = Math.exp(score);
            total += weight;
            for (int n = 0; n < WIDTH; n++) {
              sums[n] += weight * v[j * WIDTH + n];
            }
          }
          lse[h * TOKENS + i] = Math.log(total);
          for (int n = 0; n < WIDTH; n++) {
            out[(i * HEADS + h) * WIDTH + n] = sums[n] / total;
          }
        }
      }
    }
    return out;
  }

  @Test
  void forwardAndBackwardOfPackedDocuments() {
    check(Attention.Options.causal(0.4f));
    check(Attention.Options.full(0.4f));
    check(Attention.Options.causal(0.4f).window(1));
    check(new Attention.Options(0.9f, 0.5f, false, 1, 0, false, 0));
  }

  private void check(Attention.Options options) {
    TensorRef q = arena.random(TOKENS, HEADS, WIDTH);
    TensorRef k = arena.random(TOKENS, 1, WIDTH);
    TensorRef v = arena.random(TOKENS, 1, WIDTH);
    TensorRef out = arena.poisoned(TOKENS, HEADS, WIDTH);
    TensorRef lse = arena.poisoned(HEADS, TOKENS);
    TensorRef cu = arena.ints(0, 2, 5, 5);
    arena.run(Attention.forward(q, k, v, out, lse, cu, cu, null, null, options));
    double[] logs = new double[HEADS * TOKENS];
    assertNear(reference(values(q), values(k), values(v), logs, options), out);
    assertNear(logs, lse);

    TensorRef dOut = arena.random(TOKENS, HEADS, WIDTH);
    TensorRef dQ = arena.poisoned(TOKENS, HEADS, WIDTH);
    TensorRef dK = arena.poisoned(TOKENS, 1, WIDTH);
    TensorRef dV = arena.poisoned(TOKENS, 1, WIDTH);
    arena.run(Attention.backward(dOut, q, k, v, out, lse, cu, cu, null, null, dQ, dK, dV, null, null, options));
    double[][] inputs = {values(q), values(k), values(v)};
    TensorRef[] gradients = {dQ, dK, dV};
    for (int input = 0; input < 3; input++) {
      double[] expected = new double[inputs[input].length];
      for (int i = 0; i < expected.length; i++) {
        double value = inputs[input][i];
        inputs[input][i] = value + 1e-5;
        double above = dot(reference(inputs[0], inputs[1], inputs[2], logs, options), dOut);
        inputs[input][i] = value - 1e-5;
        double below = dot(reference(inputs[0], inputs[1], inputs[2], logs, options), dOut);
        inputs[input][i] = value;
        expected[i] = (above - below) / 2e-5;
      }
      assertNear(expected, gradients[input]);
    }
  }

  private static double dot(double[] a, TensorRef b) {
    double[] values = values(b);
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * values[i];
    }
    return sum;
  }

  @Test
  void aBiasTableShiftsScoresByDistance() {
    // One query, two keys with equal scores: the soft-max weighs them by their biases alone.
    TensorRef q = arena.zeros(DType.F32, 2, 1, WIDTH);
    TensorRef k = arena.zeros(DType.F32, 2, 1, WIDTH);
    TensorRef v = arena.random(2, 1, WIDTH);
    TensorRef out = arena.poisoned(2, 1, WIDTH);
    TensorRef lse = arena.poisoned(1, 2);
    TensorRef cu = arena.ints(0, 2);
    TensorRef table = arena.floats(new long[] {4, 1}, 0.5, -1, 7, 7);
    Attention.Options options = new Attention.Options(1, 0, true, -1, -1, false, 8);
    arena.run(Attention.forward(q, k, v, out, lse, cu, cu, table, null, options));
    double share = Math.exp(0.5) / (Math.exp(0.5) + Math.exp(-1));
    double[] expected = values(v);
    for (int n = 0; n < WIDTH; n++) {
      expected[WIDTH + n] = share * expected[WIDTH + n] + (1 - share) * expected[n];
    }
    assertNear(expected, out);

    TensorRef dOut = arena.random(2, 1, WIDTH);
    TensorRef dTable = arena.zeros(DType.F32, 4, 1);
    arena.run(
        Attention.backward(
            dOut,
            q,
            k,
            v,
            out,
            lse,
            cu,
            cu,
            table,
            null,
            arena.poisoned(2, 1, WIDTH),
            arena.poisoned(2, 1, WIDTH),
            arena.poisoned(2, 1, WIDTH),
            dTable,
            null,
            options));
    double difference = 0;
    for (int n = 0; n < WIDTH; n++) {
      difference += values(dOut)[WIDTH + n] * (values(v)[WIDTH + n] - values(v)[n]);
    }
    double slope = share * (1 - share) * difference;
    assertNear(new double[] {slope, -slope, 0, 0}, dTable);
  }

  @Test
  void aSinkTakesItsShareOfTheWeights() {
    // Two keys with scores of 0 and a sink of log 2: each has a quarter, the sink a half.
    TensorRef q = arena.zeros(DType.F32, 1, 1, WIDTH);
    TensorRef k = arena.zeros(DType.F32, 2, 1, WIDTH);
    TensorRef v = arena.random(2, 1, WIDTH);
    TensorRef out = arena.poisoned(1, 1, WIDTH);
    TensorRef lse = arena.poisoned(1, 1);
    TensorRef one = arena.ints(0, 1);
    TensorRef two = arena.ints(0, 2);
    TensorRef sinks = arena.floats(new long[] {1}, Math.log(2));
    Attention.Options options = Attention.Options.causal(1);
    arena.run(Attention.forward(q, k, v, out, lse, one, two, null, sinks, options));
    double[] expected = new double[WIDTH];
    for (int n = 0; n < WIDTH; n++) {
      expected[n] = (values(v)[n] + values(v)[WIDTH + n]) / 4;
    }
    assertNear(expected, out);
    assertNear(new double[] {Math.log(4)}, lse);

    TensorRef dOut = arena.random(1, 1, WIDTH);
    TensorRef dSinks = arena.zeros(DType.F32, 1);
    arena.run(
        Attention.backward(
            dOut,
            q,
            k,
            v,
            out,
            lse,
            one,
            two,
            null,
            sinks,
            arena.poisoned(1, 1, WIDTH),
            arena.poisoned(2, 1, WIDTH),
            arena.poisoned(2, 1, WIDTH),
            null,
            dSinks,
            options));
    assertNear(new double[] {-dot(expected, dOut) / 2}, dSinks);
  }

  @Test
  void pagesHoldKeysInAnyOrder() {
    int keys = 40;
    TensorRef q = arena.random(1, HEADS, WIDTH);
    TensorRef k = arena.random(keys, 1, WIDTH);
    TensorRef v = arena.random(keys, 1, WIDTH);
    TensorRef cuQ = arena.ints(0, 1);
    TensorRef cuK = arena.ints(0, keys);
    Attention.Options options = Attention.Options.causal(0.5f);
    TensorRef expected = arena.poisoned(1, HEADS, WIDTH);
    arena.run(Attention.forward(q, k, v, expected, null, cuQ, cuK, null, null, options));

    int[] order = {2, 0, 3}; // of four pages of 16
    TensorRef pages = arena.intRows(1, order);
    TensorRef pagedK = arena.floats(new long[] {64, 1, WIDTH}, paged(values(k), order));
    TensorRef pagedV = arena.floats(new long[] {64, 1, WIDTH}, paged(values(v), order));
    TensorRef out = arena.poisoned(1, HEADS, WIDTH);
    arena.run(
        Attention.forward(
            q, pagedK, pagedV, out, null, cuQ, cuK, pages, 16, null, null, options));
    assertNear(values(expected), out);
  }

  /** Rows in pages of 16, no numbers between them. */
  private static double[] paged(double[] rows, int[] order) {
    double[] all = new double[64 * WIDTH];
    Arrays.fill(all, Double.NaN);
    for (int i = 0; i < rows.length; i++) {
      int row = i / WIDTH;
      all[(order[row / 16] * 16 + row % 16) * WIDTH + i % WIDTH] = rows[i];
    }
    return all;
  }

  @Test
  void cachesAreAppendedTo() {
    TensorRef x = arena.random(2, 1, WIDTH);
    TensorRef cache = arena.zeros(DType.F32, 4, 1, WIDTH);
    arena.run(Attention.cacheAppend(x, cache, arena.ints(1)));
    double[] expected = new double[4 * WIDTH];
    System.arraycopy(values(x), 0, expected, WIDTH, 2 * WIDTH);
    assertNear(expected, cache);
    assertEquals(0, values(cache)[0]);
  }
}
