package dev.caravan.graph;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.Attention.Options;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Add;
import dev.caravan.ops.Attention;
import dev.caravan.ops.Bias;
import dev.caravan.ops.Glu;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.RmsNorm;
import dev.caravan.ops.Rope;
import dev.caravan.ops.View;
import dev.caravan.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Graphs that nobody would write: real ops over tensors picked at random, so that gradients are
 * shared, views crossed, weights tied and blocks left in every way that a model might one day do.
 */
final class RandomGraphs {
  /** Large, so that norms of small rows stay smooth and their gradients can be compared. */
  private static final float EPS = 0.3f;

  private static final int TOKENS = 6;
  private static final int WIDTH = 8;
  private static final int HEADS = 4;
  private static final int WEIGHTS = 3;
  private static final int BLOCKS = 3;

  private final Builder b;
  private final Random random;
  private final List<Tensor> tensors = new ArrayList<>();
  private final Tensor rows;
  private final Tensor documents;
  private final Tensor positions;
  private final Tensor cos;
  private final Tensor sin;

  private RandomGraphs(DType storage, long seed) {
    b = new Builder(storage, seed);
    random = new Random(seed);
    rows = b.ints("rows", TOKENS - 1);
    documents = b.ints("documents", 0, 2, 2, TOKENS - 1);
    positions = b.ints("positions", 0, 1, 0, 1, 2, 0);
    cos = b.constant("cos", 3, WIDTH / HEADS / 2);
    sin = b.constant("sin", 3, WIDTH / HEADS / 2);
  }

  /** The graph of a seed, always the same one. */
  static OpCase of(DType storage, long seed) {
    return new RandomGraphs(storage, seed).build("random graph " + seed);
  }

  private OpCase build(String name) {
    tensors.add(b.activation("x", TOKENS, WIDTH));
    tensors.add(b.activation("y", TOKENS, WIDTH));
    for (int block = 0; block < BLOCKS; block++) {
      int nodes = 1 + random.nextInt(4);
      b.graph()
          .in(
              "block." + block,
              block,
              () -> {
                for (int i = 0; i < nodes; i++) {
                  step();
                }
              });
    }
    List<Tensor> outputs = new ArrayList<>(List.of(tensors.get(tensors.size() - 1)));
    if (random.nextBoolean()) {
      outputs.add(any());
    }
    b.values().fillRandom(b.graph(), random, 1 / Math.sqrt(WIDTH));
    return b.loss(name, TOKENS - 1, outputs.toArray(Tensor[]::new));
  }

  private Tensor any() {
    // The newest more often than the others, as in a model.
    int back = random.nextInt(random.nextInt(tensors.size()) + 1);
    return tensors.get(tensors.size() - 1 - back);
  }

  private Tensor heads() {
    return b.one(View.as(TOKENS, HEADS, WIDTH / HEADS), any());
  }

  private Tensor flat(Tensor heads) {
    return b.one(View.as(TOKENS, WIDTH), heads);
  }

  private void step() {
    String which = "." + random.nextInt(WEIGHTS);
    switch (random.nextInt(8)) {
      case 0 -> tensors.add(b.one(new Add(), any(), any()));
      case 1 -> {
        Glu.Activation[] gates = Glu.Activation.values();
        tensors.add(b.one(new Glu(gates[random.nextInt(gates.length)]), any(), any()));
      }
      case 2 -> tensors.add(b.one(new Bias(), any(), b.weight("bias" + which, WIDTH)));
      case 3 -> tensors.add(b.first(new RmsNorm(EPS, false), any(), gain(which)));
      case 4 -> {
        List<Tensor> made = b.graph().emit(new RmsNorm(EPS, true), any(), gain(which), any());
        tensors.add(made.get(2));
        tensors.add(made.get(0));
      }
      case 5 ->
          tensors.add(
              flat(b.one(new Rope(random.nextBoolean(), false), heads(), positions, cos, sin)));
      case 6 -> {
        Tensor q = heads();
        Tensor k = random.nextBoolean() ? q : heads();
        Options options = Options.causal(0.5f).window(random.nextInt(3) - 1);
        tensors.add(
            flat(b.first(new Attention(options, false), q, k, heads(), documents, documents)));
      }
      default ->
          tensors.add(
              b.one(
                  MatMul.linear(true, b.storage()),
                  any(),
                  b.weight("w" + which, WIDTH, WIDTH),
                  rows));
    }
  }

  private Tensor gain(String which) {
    return b.weight("gain" + which, WIDTH);
  }
}
