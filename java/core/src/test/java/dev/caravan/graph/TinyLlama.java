package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.model.RopeScaling;
import dev.caravan.nn.Rotary;
import java.util.Collections;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.Function;

/**
 * A LLaMA-family model small enough to be differentiated by differences, on one packed buffer with
 * three documents, an empty one among them, and padding behind.
 *
 * @param name what is special about it
 * @param config the model
 */
record TinyLlama(String name, LlamaConfig config) {
  /** Rows of the buffer. */
  static final int TOKENS = 14;

  /** Most documents in it. */
  static final int DOCUMENTS = 6;

  /** Target rows for which logits exist at once; the last chunk in use is not full. */
  static final int CHUNK = 3;

  /**
   * Every recompute policy: none, cheap ops, all blocks, and some blocks with and without cheap
   * ops.
   */
  static final List<Recompute.Policy> POLICIES =
      List.of(
          Recompute.Policy.NONE,
          Recompute.Policy.SELECTIVE,
          Recompute.Policy.FULL,
          new Recompute.Policy(true, 1),
          new Recompute.Policy(false, 2),
          new Recompute.Policy(false, 3));

  private static final int USED = 11;
  private static final int POSITIONS = 8;
  private static final int VOCABULARY = 13;
  private static final int[] STARTS = {0, 5, 5, 7, USED, USED, USED};
  private static final int[] PLACES = {0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 0, 0, 0};
  private static final int[] TARGET_ROWS = {1, 2, 3, 5, 7, 8, 9};

  @Override
  public String toString() {
    return name;
  }

  /** Models that between them take every path of the model function. */
  static List<TinyLlama> all() {
    return List.of(
        new TinyLlama("llama, untied", config(false, false, false, false, 0)),
        new TinyLlama("llama, tied", config(true, false, false, false, 0)),
        new TinyLlama("biases everywhere, as llama may have", config(false, true, true, false, 0)),
        new TinyLlama("qwen2: biases of q, k and v, tied", config(true, true, false, false, 0)),
        new TinyLlama("qwen3: norms of q and k", config(true, false, false, true, 0)),
        new TinyLlama("mistral: sliding window", config(false, false, false, false, 3)),
        new TinyLlama("all at once", config(true, true, true, true, 2)));
  }

  private static LlamaConfig config(
      boolean tied, boolean qkvBias, boolean otherBias, boolean qkNorm, int window) {
    int layers = 3;
    return new LlamaConfig(
        "llama",
        VOCABULARY,
        8,
        layers,
        4,
        2,
        6,
        10,
        1e-5,
        tied,
        qkvBias,
        otherBias,
        otherBias,
        qkNorm,
        Collections.nCopies(layers, window),
        10_000,
        new RopeScaling.None(),
        POSITIONS,
        0.02,
        OptionalInt.empty(),
        List.of());
  }

  LlamaGraphs graphs(DType storage) {
    return new LlamaGraphs(config, storage, POSITIONS);
  }

  /** The graph of loss and gradients. */
  Graph train(DType storage, Recompute.Policy recompute) {
    return graphs(storage).train(TOKENS, DOCUMENTS, CHUNK, recompute);
  }

  /** The graph of the loss alone. */
  Graph score(DType storage) {
    return graphs(storage).score(TOKENS, DOCUMENTS, CHUNK);
  }

  /** Weights and a packed buffer. */
  Values values(DType storage, long seed) {
    return values(storage, seed, TARGET_ROWS.length);
  }

  /** The same with fewer targets. */
  Values values(DType storage, long seed, int targets) {
    Random random = new Random(seed);
    Values values = new Values();
    values.set("ids", random.ints(TOKENS, 0, VOCABULARY).toArray());
    values.set("positions", PLACES);
    values.set("documents", STARTS);
    values.set("tokens", USED);
    values.set("target_rows", java.util.Arrays.copyOf(TARGET_ROWS, TOKENS));
    values.set("target_ids", random.ints(TOKENS, 0, VOCABULARY).toArray());
    values.set("targets", targets);
    values.state(1.0 / 16); // a step of more targets than this buffer's; exact in float32
    values.set(Rotary.COS, table(Math::cos));
    values.set(Rotary.SIN, table(Math::sin));
    return values.fillRandom(score(storage), random, 0.5);
  }

  private double[] table(Function<Double, Double> wave) {
    int half = config.headDim() / 2;
    double[] table = new double[POSITIONS * half];
    for (int i = 0; i < table.length; i++) {
      double angle = i / half * Math.pow(config.ropeTheta(), -(double) (i % half) / half);
      table[i] = wave.apply(angle).floatValue();
    }
    return table;
  }
}
