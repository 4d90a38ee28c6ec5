package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.ExpertLosses;
import dev.caravan.model.ExpertsConfig;
import dev.caravan.model.GlamConfig;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.model.RopeScaling;
import dev.caravan.nn.Rotary;
import dev.caravan.ops.Glu;
import dev.caravan.parallel.Mesh;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;

/**
 * A model, of the LLaMA family but for GLaM's, small enough for float64, and one packed buffer for it.
 *
 * @param name what is special about it
 * @param config the model
 * @param lengths of the documents in the buffer; one may be empty
 * @param padding rows behind the documents
 * @param chunk target rows for which logits exist at once
 */
record TinyLlama(String name, DecoderConfig config, int[] lengths, int padding, int chunk) {
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

  private static final int LAYERS = 3;
  private static final int[] DOCUMENTS = {5, 0, 2, 4};

  /** Documents that a buffer could hold beyond those in it. */
  private static final int SPARE = 2;

  @Override
  public String toString() {
    return name;
  }

  /**
   * Models that between them take every path of the model function; one is differentiated in a
   * second.
   */
  static List<TinyLlama> all() {
    return List.of(
        tiny("llama, untied", false, false, false, false, 0),
        tiny("llama, tied", true, false, false, false, 0),
        tiny("biases everywhere, as llama may have", false, true, true, false, 0),
        tiny("qwen2: biases of q, k and v, tied", true, true, false, false, 0),
        tiny("qwen3: norms of q and k", true, false, false, true, 0),
        tiny("mistral: sliding window", false, false, false, false, 3),
        tiny("all at once", true, true, true, true, 2),
        sparse("mixtral: experts", "block_sparse_moe", false, true, List.of(true, true, true)),
        sparse("qwen3-moe: dense, then sparse", "mlp", false, true, List.of(false, true, true)),
        sparse("olmoe: norms over all heads", "mlp", true, false, List.of(true, false, true)),
        sharing("qwen2-moe: a shared expert"),
        glam("glam: dense", Glu.Activation.GELU_TANH, Optional.empty()),
        glam(
            "glam: every other layer sparse",
            Glu.Activation.GELU,
            Optional.of(
                new ExpertsConfig(
                    4,
                    2,
                    6,
                    Experts.Activation.GELU,
                    true,
                    List.of(true, false, true),
                    0,
                    "mlp"))),
        glam(
            "glam: a list of sparse layers, a shared expert",
            Glu.Activation.GELU_TANH,
            Optional.of(
                new ExpertsConfig(
                    4,
                    1,
                    10,
                    Experts.Activation.GELU_TANH,
                    false,
                    List.of(false, true, true),
                    0,
                    "mlp",
                    14))));
  }

  private static TinyLlama sharing(String name) {
    ExpertsConfig experts =
        new ExpertsConfig(
            4, 2, 6, Experts.Activation.SWIGLU, false, List.of(true, true, true), 0, "mlp", 10);
    return sparse(name, experts, false);
  }

  private static TinyLlama glam(
      String name, Glu.Activation activation, Optional<ExpertsConfig> experts) {
    return new TinyLlama(name, glam(13, activation, experts), DOCUMENTS, 3, 3);
  }

  private static GlamConfig glam(
      int vocabulary, Glu.Activation activation, Optional<ExpertsConfig> experts) {
    return new GlamConfig(
        vocabulary,
        8,
        LAYERS,
        4,
        2, // narrow heads: no scale keeps their scores small
        10,
        activation,
        1e-5,
        8,
        6,
        8,
        0.02,
        OptionalInt.empty(),
        List.of(),
        experts);
  }

  private static TinyLlama sparse(
      String name, String part, boolean wideNorms, boolean renormalise, List<Boolean> sparse) {
    ExpertsConfig experts =
        new ExpertsConfig(4, 2, 6, Experts.Activation.SWIGLU, renormalise, sparse, 0, part);
    return sparse(name, experts, wideNorms);
  }

  private static TinyLlama sparse(String name, ExpertsConfig experts, boolean wideNorms) {
    boolean norms = experts.part().equals("mlp");
    LlamaConfig dense = config(13, 8, 4, 2, 6, 10, 8, false, false, false, norms, 0);
    LlamaConfig config = other(dense, dense.vocab(), wideNorms, Optional.of(experts));
    return new TinyLlama(name, config, DOCUMENTS, 3, 3);
  }

  /** A config that differs in what is given. */
  private static LlamaConfig other(
      LlamaConfig c, int vocab, boolean wideNorms, Optional<ExpertsConfig> experts) {
    return new LlamaConfig(
        c.modelType(),
        vocab,
        c.dModel(),
        c.layers(),
        c.heads(),
        c.kvHeads(),
        c.headDim(),
        c.ffn(),
        c.eps(),
        c.tied(),
        c.qkvBias(),
        c.oBias(),
        c.mlpBias(),
        c.qkNorm(),
        c.slidingWindow(),
        c.ropeTheta(),
        c.ropeScaling(),
        c.maxPosition(),
        c.initializerRange(),
        c.bosId(),
        c.eosIds(),
        wideNorms,
        experts);
  }

  private static TinyLlama tiny(
      String name, boolean tied, boolean qkvBias, boolean otherBias, boolean qkNorm, int window) {
    LlamaConfig config = config(13, 8, 4, 2, 6, 10, 8, tied, qkvBias, otherBias, qkNorm, window);
    return new TinyLlama(name, config, DOCUMENTS, 3, 3);
  }

  /** A model large enough for the kernels to cross their tiles and to share work among threads. */
  static TinyLlama wide() {
    LlamaConfig config = config(160, 48, 6, 2, 16, 96, 80, true, true, false, true, 33);
    return new TinyLlama("wide", config, new int[] {70, 0, 1, 66, 40}, 15, 32);
  }

  private static LlamaConfig config(
      int vocabulary,
      int width,
      int heads,
      int keyHeads,
      int headWidth,
      int ffn,
      int positions,
      boolean tied,
      boolean qkvBias,
      boolean otherBias,
      boolean qkNorm,
      int window) {
    return new LlamaConfig(
        "llama",
        vocabulary,
        width,
        LAYERS,
        heads,
        keyHeads,
        headWidth,
        ffn,
        1e-5,
        tied,
        qkvBias,
        otherBias,
        otherBias,
        qkNorm,
        Collections.nCopies(LAYERS, window),
        10_000,
        new RopeScaling.None(),
        positions,
        0.02,
        OptionalInt.empty(),
        List.of());
  }

  /** The same model with so many tokens to know. */
  TinyLlama withVocabulary(int size) {
    return with(size, config.experts());
  }

  /** The same model with these experts. */
  TinyLlama withExperts(ExpertsConfig experts) {
    return with(config.vocab(), Optional.of(experts));
  }

  private TinyLlama with(int vocabulary, Optional<ExpertsConfig> experts) {
    DecoderConfig other =
        config instanceof LlamaConfig c
            ? other(c, vocabulary, c.wideQkNorm(), experts)
            : glam(vocabulary, ((GlamConfig) config).activation(), experts);
    return new TinyLlama(name, other, lengths, padding, chunk);
  }

  /** The same model, whose tokens choose all experts: no rounding changes a choice. */
  TinyLlama choosingAll() {
    ExpertsConfig c = config.experts().orElseThrow();
    return withExperts(
        new ExpertsConfig(
            c.experts(),
            c.experts(),
            c.ffn(),
            c.activation(),
            c.renormalise(),
            c.sparse(),
            c.auxWeight(),
            c.part(),
            c.shared()));
  }

  /** The same model on a buffer of the same size with other documents. */
  TinyLlama with(int... others) {
    int room = padding + Arrays.stream(lengths).sum() - Arrays.stream(others).sum();
    return new TinyLlama(name, config, Arrays.copyOf(others, lengths.length), room, chunk);
  }

  /** Rows of the buffer that documents use. */
  int used() {
    return Arrays.stream(lengths).sum();
  }

  private int tokens() {
    return used() + padding;
  }

  private int documents() {
    return lengths.length + SPARE;
  }

  LlamaGraphs graphs(DType storage) {
    return new LlamaGraphs(config, storage, config.maxPosition());
  }

  /** The graph of loss and gradients. */
  Graph train(DType storage, Recompute.Policy recompute) {
    return graphs(storage).train(tokens(), documents(), chunk, recompute);
  }

  /** The same of one of several tensor-parallel ranks. */
  Graph train(DType storage, Recompute.Policy recompute, int ranks) {
    return graphs(storage).train(tokens(), documents(), chunk, recompute, ranks);
  }

  /** The same of one of the ranks of a mesh, with what training adds for experts. */
  Graph train(DType storage, Recompute.Policy recompute, Mesh mesh, ExpertLosses losses) {
    return train(storage, recompute, mesh, losses, ExpertExchange.GATHER);
  }

  /** The same with rows of experts that travel in another way. */
  Graph train(
      DType storage,
      Recompute.Policy recompute,
      Mesh mesh,
      ExpertLosses losses,
      ExpertExchange exchange) {
    return new LlamaGraphs(config, storage, config.maxPosition(), losses, exchange)
        .train(tokens(), documents(), chunk, recompute, mesh);
  }

  /** The same of one of several tensor-parallel ranks, divided as wanted. */
  Graph train(DType storage, Recompute.Policy recompute, Division division) {
    return train(storage, recompute, new Mesh(1, division.ranks()), division, ExpertLosses.NONE);
  }

  /** The same of one of the ranks of a mesh, with what training adds for experts. */
  Graph train(
      DType storage,
      Recompute.Policy recompute,
      Mesh mesh,
      Division division,
      ExpertLosses losses) {
    return new LlamaGraphs(
            config, storage, config.maxPosition(), losses, ExpertExchange.GATHER)
        .train(tokens(), documents(), chunk, recompute, mesh, division);
  }

  /** The graph of the loss alone. */
  Graph score(DType storage) {
    return graphs(storage).score(tokens(), documents(), chunk);
  }

  /** Weights and a packed buffer, in which most rows but the last of a document have a target. */
  Values values(DType storage, long seed) {
    Random random = new Random(seed);
    Values values = new Values();
    values.set(Rotary.COS, table(Math::cos));
    values.set(Rotary.SIN, table(Math::sin));
    values.state(1.0 / 16); // of a step with more buffers than this one; exact in float32
    values.fillRandom(score(storage), random, 4 / Math.sqrt(8 * config.dModel()));
    return buffer(values, random);
  }

  /** Overwrites the inputs with another packed buffer. */
  Values buffer(Values values, Random random) {
    int[] positions = new int[tokens()];
    int[] starts = new int[documents() + 1];
    int[] targetRows = new int[tokens()];
    int targets = 0;
    int row = 0;
    for (int d = 0; d < documents(); d++) {
      for (int i = 0; d < lengths.length && i < lengths[d]; i++, row++) {
        positions[row] = i;
        if (i + 1 < lengths[d] && random.nextInt(4) > 0) {
          targetRows[targets++] = row;
        }
      }
      starts[d + 1] = row;
    }
    values.set("ids", random.ints(tokens(), 0, config.vocab()).toArray());
    values.set("positions", positions);
    values.set("documents", starts);
    values.set("tokens", used());
    values.set("target_rows", targetRows);
    values.set("target_ids", random.ints(tokens(), 0, config.vocab()).toArray());
    values.set("targets", targets);
    return values;
  }

  private double[] table(DoubleUnaryOperator wave) {
    int half = config.headDim() / 2;
    double[] table = new double[config.maxPosition() * half];
    double theta = config instanceof LlamaConfig llama ? llama.ropeTheta() : 1;
    for (int i = 0; i < table.length; i++) {
      double angle = i / half * Math.pow(theta, -(double) (i % half) / half);
      table[i] = (float) wave.applyAsDouble(angle);
    }
    return table;
  }
}
