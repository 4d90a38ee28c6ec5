package dev.caravan.graph;

import dev.caravan.graph.OpCase.Builder;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts.Activation;
import dev.caravan.kernels.Experts.Balance;
import dev.caravan.kernels.Experts.Scoring;
import dev.caravan.kernels.Experts.Second;
import dev.caravan.nn.Inputs;
import dev.caravan.nn.SparseExperts;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.ExpertPlaces;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.Router;
import dev.caravan.ops.SumRows;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/** Router and experts together, as what flows back between them is sorted by expert. */
final class ExpertCases {
  private static final int TOKENS = 9;
  private static final int USED = 7; // two rows of padding behind them
  private static final int WIDTH = 6;
  private static final int HIDDEN = 4;
  private static final double GAP = 0.01; // GradientCheck moves logits by a third of it at most

  private ExpertCases() {}

  static List<Function<Builder, OpCase>> all() {
    Scoring softmax = Scoring.SOFTMAX;
    List<Function<Builder, OpCase>> cases = new ArrayList<>();
    for (Activation activation : Activation.values()) {
      if (activation != Activation.NONE) {
        cases.add(
            b -> layer(b, "experts, " + activation, 5, 2, softmax, true, activation, USED, 0));
      }
    }
    Activation swiglu = Activation.SWIGLU;
    cases.add(b -> layer(b, "experts, one each", 5, 1, softmax, false, swiglu, USED, 0));
    cases.add(b -> layer(b, "experts, not renormalised", 5, 3, softmax, false, swiglu, USED, 0));
    cases.add(b -> layer(b, "experts, all of them", 4, 4, softmax, false, swiglu, USED, 0));
    cases.add(b -> layer(b, "experts, sigmoid", 5, 2, Scoring.SIGMOID, false, swiglu, USED, 0));
    cases.add(
        b -> layer(b, "experts, sigmoid, by their sum", 5, 2, Scoring.SIGMOID, true, swiglu, USED, 0));
    cases.add(b -> layer(b, "experts of one token", 5, 2, softmax, true, swiglu, 1, 0));
    cases.add(b -> layer(b, "experts of no token", 5, 2, softmax, true, swiglu, 0, 0));
    cases.add(b -> layer(b, "a single expert", 1, 1, softmax, false, swiglu, USED, 0));
    cases.add(b -> layer(b, "experts with room for one", 3, 2, softmax, true, swiglu, USED, 1));
    cases.add(b -> layer(b, "experts with room for three", 3, 2, softmax, true, swiglu, USED, 3));
    cases.add(b -> placed(b, "rows to two ranks and back", 4, 2, 0, 2, 2 * TOKENS));
    cases.add(b -> placed(b, "rows to three ranks, places for some", 6, 3, 0, 3, 4));
    cases.add(b -> placed(b, "rows to two ranks, room for some", 4, 2, 2, 2, 4));
    return cases;
  }

  /** Experts that take so many rows of each group of tokens, or no second choices of small weight. */
  static List<Function<Builder, OpCase>> groups() {
    return List.of(
        b -> groups(b, "groups of four tokens with room for two", 3, 2, 4),
        b -> groups(b, "groups that do not divide the tokens", 5, 1, 5),
        b -> second(b, "second choices above a weight", 0),
        b -> second(b, "second choices above a weight, room for two", 2));
  }

  /** What balance adds is float32 whatever the storage, so these cases are of float32 only. */
  static List<Function<Builder, OpCase>> balanced() {
    Scoring softmax = Scoring.SOFTMAX;
    return List.of(
        b -> losses(b, "no balance loss, z loss", Balance.NONE, softmax, 0),
        b -> losses(b, "balance of first choices", Balance.FIRST, softmax, 0),
        b -> losses(b, "balance of first choices, dropped", Balance.FIRST, softmax, 2),
        b -> losses(b, "balance of all choices", Balance.CHOSEN, softmax, 0),
        b -> losses(b, "balance by sigmoid", Balance.CHOSEN, Scoring.SIGMOID, 0));
  }

  private static OpCase layer(
      Builder b,
      String name,
      int experts,
      int choices,
      Scoring scoring,
      boolean renormalise,
      Activation activation,
      int used,
      long capacity) {
    Router router = new Router(choices, scoring, renormalise, 0, capacity, 0);
    return layer(b, name, experts, router, activation, used);
  }

  /** An expert takes so many rows of each group of so many tokens. */
  private static OpCase groups(Builder b, String name, int experts, long capacity, long group) {
    Router router = new Router(2, Scoring.SOFTMAX, true, 0, capacity, group);
    return layer(b, name, experts, router, Activation.SWIGLU, USED);
  }

  /** Choices after the first need a third of the weight, and leave their room to others. */
  private static OpCase second(Builder b, String name, long capacity) {
    Second third = new Second(Second.Policy.THRESHOLD, 1.0 / 3);
    Router router = new Router(2, Scoring.SOFTMAX, true, 0, capacity, 0, third);
    return layer(b, name, 3, router, Activation.SWIGLU, USED);
  }

  private static OpCase layer(
      Builder b, String name, int experts, Router router, Activation activation, int used) {
    Tensor rows = b.ints("rows", used);
    Tensor x = b.activation("x", TOKENS, WIDTH);
    List<Tensor> routed = b.graph().emit(router, logits(b, x, experts, "", rows), rows);
    return clear(b, b.loss(name, used, experts(b, x, "", experts, activation, routed)), "router");
  }

  /** Rows go to as many places of each rank, as they are, and come back to their tokens. */
  private static OpCase placed(
      Builder b, String name, int experts, int choices, long capacity, int ranks, int each) {
    Tensor rows = b.ints("rows", USED);
    Tensor x = b.activation("x", TOKENS, WIDTH);
    Router router = new Router(choices, Scoring.SOFTMAX, true, 0, capacity, 0);
    List<Tensor> routed = b.graph().emit(router, logits(b, x, experts, "", rows), rows);
    List<Tensor> places =
        b.graph()
            .emit(
                new ExpertPlaces(ranks, each),
                routed.get(1),
                routed.get(2),
                routed.get(3),
                routed.get(4));
    Tensor sent = b.one(new SumRows(), x, places.get(1), places.get(3));
    Tensor back = b.one(new SumRows(), sent, places.get(3), places.get(1));
    return clear(b, b.loss(name, sent, back), "router");
  }

  /** Draws tokens until no two logits are so close that a small step changes a choice. */
  private static OpCase clear(Builder b, OpCase built, String... routers) {
    Random random = new Random(17);
    double[] x = built.values().get("x");
    while (Arrays.stream(routers).anyMatch(r -> gap(x, built.values().get(r)) < GAP)) {
      Arrays.setAll(x, i -> Values.round(random.nextGaussian(), b.storage()));
    }
    return built;
  }

  /** The least difference between two logits of a token. */
  private static double gap(double[] x, double[] router) {
    double least = Double.POSITIVE_INFINITY;
    for (int t = 0; t < TOKENS; t++) {
      double[] logits = new double[router.length / WIDTH];
      for (int i = 0; i < router.length; i++) {
        logits[i / WIDTH] += router[i] * x[t * WIDTH + i % WIDTH];
      }
      Arrays.sort(logits);
      for (int e = 1; e < logits.length; e++) {
        least = Math.min(least, logits[e] - logits[e - 1]);
      }
    }
    return least;
  }

  private static Tensor logits(Builder b, Tensor x, int experts, String suffix, Tensor rows) {
    return b.one(
        MatMul.linear(true, DType.F32), x, b.weight("router" + suffix, experts, WIDTH), rows);
  }

  private static Tensor experts(
      Builder b,
      Tensor x,
      String suffix,
      int experts,
      Activation activation,
      List<Tensor> routed) {
    int width = activation.gated() ? 2 * HIDDEN : HIDDEN;
    return b.first(
        new ExpertLayer(activation),
        x,
        b.weight("w1" + suffix, experts, width, WIDTH),
        b.weight("w2" + suffix, experts, WIDTH, HIDDEN),
        routed.get(0),
        routed.get(2),
        routed.get(3),
        routed.get(4));
  }

  /** Two layers, side by side so that errors do not grow, and their losses. */
  private static OpCase losses(
      Builder b, String name, Balance definition, Scoring scoring, long capacity) {
    int experts = 4;
    int choices = 2;
    Tensor rows = b.ints("rows", USED);
    Tensor stats = b.graph().leaf("experts.stats", TensorType.f32(2, 14), Role.STATE);
    Tensor factors = b.graph().leaf("experts.factors", TensorType.f32(2, 5), Role.STATE);
    Tensor offsets = b.graph().leaf("experts.offsets", TensorType.i32(2, 5), Role.STATE);
    Tensor x = b.activation("x", TOKENS, WIDTH);
    List<Tensor> outputs = new ArrayList<>();
    for (int layer = 0; layer < 2; layer++) {
      Router router = new Router(choices, scoring, true, layer, capacity, 0);
      Tensor logits = logits(b, x, experts, "." + layer, rows);
      List<Tensor> routed = b.graph().emit(router, logits, rows, stats, factors, offsets);
      outputs.add(experts(b, x, "." + layer, experts, Activation.SWIGLU, routed));
    }
    b.values().state(1.0 / 8);
    TensorType bytes = TensorType.bytes(Inputs.STATE_BYTES);
    b.one(
        new dev.caravan.ops.Balance(definition, 0.5, 0.25, choices),
        stats,
        factors,
        offsets,
        b.graph().leaf(SparseExperts.TOTALS, SparseExperts.totalsType(2, experts), Role.STATE),
        b.graph().leaf(Inputs.STATE, bytes, Role.STATE));
    OpCase built = b.loss(name, USED, outputs.toArray(Tensor[]::new));
    return clear(b, built, "router.0", "router.1");
  }
}
