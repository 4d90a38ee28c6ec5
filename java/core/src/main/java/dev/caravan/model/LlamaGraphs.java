package dev.caravan.model;

import dev.caravan.graph.Autodiff;
import dev.caravan.graph.Division;
import dev.caravan.graph.ExpertExchange;
import dev.caravan.graph.ExpertPartition;
import dev.caravan.graph.Graph;
import dev.caravan.graph.Grid;
import dev.caravan.graph.Partition;
import dev.caravan.graph.Recompute;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.nn.Attend;
import dev.caravan.nn.CachedAttention;
import dev.caravan.nn.Inputs;
import dev.caravan.nn.Layers;
import dev.caravan.nn.PackedAttention;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import dev.caravan.ops.Gather;
import dev.caravan.ops.MatMul;
import dev.caravan.parallel.Mesh;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;

/**
 * The graphs that are made of a decoder, whatever its family: for training, for scoring, for generation. All share the
 * weights by name.
 *
 * @param config the model
 * @param storage dtype of weights and activations
 * @param positions how many positions the rotary tables hold: the longest sequence
 * @param losses what training adds for sparse experts
 * @param exchange how rows come to the experts of other ranks
 */
public record LlamaGraphs(
    DecoderConfig config,
    DType storage,
    int positions,
    ExpertLosses losses,
    ExpertExchange exchange) {
  /** Graphs without losses of sparse experts. */
  public LlamaGraphs(DecoderConfig config, DType storage, int positions) {
    this(config, storage, positions, ExpertLosses.NONE, ExpertExchange.GATHER);
  }

  /** Names of the inputs of {@link #decode}. */
  public static final String START = "start";

  /** Where the new tokens begin and end. */
  public static final String QUERIES = "queries";

  /** Where all tokens begin and end. */
  public static final String KEYS = "keys";

  /** The row whose logits are wanted. */
  public static final String LAST_ROW = "last_row";

  /** Always 1: how many rows are wanted. */
  public static final String ONE = "one";

  /** A graph that ends with the loss, and how many nodes come before it. */
  private record Loss(Graph graph, Tensor nll) {}

  /**
   * Loss and gradients of one packed buffer.
   *
   * @param tokens rows of the buffer, T
   * @param documents most documents in it, S
   * @param chunk target rows for which logits exist at once
   */
  public Graph train(int tokens, int documents, int chunk, Recompute.Policy recompute) {
    return train(tokens, documents, chunk, recompute, 1);
  }

  /**
   * The same of one of several tensor-parallel ranks.
   *
   * @param ranks how many there are
   * @throws IllegalArgumentException if the model cannot be divided among so many
   */
  public Graph train(
      int tokens, int documents, int chunk, Recompute.Policy recompute, int ranks) {
    return train(tokens, documents, chunk, recompute, new Mesh(1, ranks));
  }

  /**
   * The same of one of the ranks of a mesh, but for what data-parallel ranks exchange of weights and
   * gradients.
   *
   * @throws IllegalArgumentException if the model cannot be divided among so many
   */
  public Graph train(
      int tokens, int documents, int chunk, Recompute.Policy recompute, Mesh mesh) {
    return train(tokens, documents, chunk, recompute, mesh, division(mesh.tensor()));
  }

  /**
   * As above.
   *
   * @param division how tensor-parallel ranks divide the model
   */
  public Graph train(
      int tokens,
      int documents,
      int chunk,
      Recompute.Policy recompute,
      Mesh mesh,
      Division division) {
    Graph part = Partition.apply(loss(tokens, documents, chunk, true).graph, division);
    Graph forward = ExpertPartition.apply(part, experts(mesh.expert()), mesh.data(), exchange);
    int forwardNodes = forward.nodes().size() - 1; // the loss itself is made in the backward sweep
    return Recompute.apply(Autodiff.differentiate(forward), forwardNodes, recompute);
  }

  /**
   * How the ranks of a mesh divide the model.
   *
   * @throws IllegalArgumentException if it cannot be divided among so many tensor-parallel ranks
   */
  public Grid grid(Mesh mesh) {
    return new Grid(division(mesh.tensor()), experts(mesh.expert()));
  }

  private Division division(int ranks) {
    return ranks == 1 ? Division.NONE : config.division(ranks);
  }

  /** As many experts on each rank, in order. */
  private static Division experts(int ranks) {
    return new Division(
        ranks, name -> ExpertWeights.divided(name) ? Division.Split.ROWS : Division.Split.WHOLE);
  }

  /** The loss of every target of one packed buffer; its only result is nll f32 [T]. */
  public Graph score(int tokens, int documents, int chunk) {
    Loss loss = loss(tokens, documents, chunk, false);
    loss.graph.result(loss.nll);
    return loss.graph;
  }

  /** The same of one of the ranks of a mesh. */
  public Graph score(int tokens, int documents, int chunk, Mesh mesh) {
    Graph part =
        Partition.apply(score(tokens, documents, chunk), division(mesh.tensor()));
    return ExpertPartition.apply(part, experts(mesh.expert()), mesh.data(), exchange);
  }

  private Loss loss(int tokens, int documents, int chunk, boolean training) {
    Graph graph = new Graph();
    Inputs in = Inputs.packed(graph, tokens, documents);
    Layers nn = new Layers(graph, storage, in.tokens());
    SparseExperts experts = experts(graph, in.tokens(), tokens, training);
    Decoder decoder =
        config.decoder(
            nn,
            rotary(graph, in.positions()),
            new PackedAttention(graph, in.documents()),
            experts);
    Tensor hidden_TD = decoder.hidden(in.ids());
    if (training && experts != null) {
      experts.losses(losses.definition(), losses.weight(), losses.zWeight(), in.state());
    }
    return new Loss(graph, nn.crossEntropy(hidden_TD, decoder.output(), in, chunk));
  }

  /**
   * Logits of the token after the last of {@code width} new ones, given a cache of those before; its
   * only result is logits f32 [1, V].
   *
   * @param width new tokens at once
   * @param capacity most tokens of the whole sequence
   */
  public Graph decode(int width, int capacity) {
    Graph graph = new Graph();
    Tensor ids = input(graph, "ids." + width, width);
    Tensor rows = input(graph, "tokens." + width, 1);
    Tensor place = input(graph, "positions." + width, width);
    Attend attention =
        new CachedAttention(
            graph,
            capacity,
            input(graph, START, 1),
            input(graph, QUERIES, 2),
            input(graph, KEYS, 2));
    Layers nn = new Layers(graph, storage, rows);
    Decoder decoder =
        config.decoder(nn, rotary(graph, place), attention, experts(graph, rows, width, false));
    Tensor hidden_TD = decoder.hidden(ids);
    Tensor last_1D =
        graph.one(
            new Gather(), hidden_TD, input(graph, LAST_ROW, 1), input(graph, ONE, 1));
    graph.result(graph.one(MatMul.linear(false, DType.F32), last_1D, decoder.output()));
    return graph;
  }

  /** The model's sparse layers; null where it has none. */
  private SparseExperts experts(Graph graph, Tensor rows, int tokens, boolean training) {
    return config
        .experts()
        .map(
            e ->
                new SparseExperts(
                    graph,
                    rows,
                    e.layers(),
                    e.experts(),
                    e.choices(),
                    e.renormalise(),
                    e.activation(),
                    training,
                    training ? losses.capacity(tokens, e) : 0,
                    losses.group(tokens),
                    training ? losses.second() : Experts.Second.ALL))
        .orElse(null);
  }

  /** Null where the model has no rotary tables. */
  private Rotary rotary(Graph graph, Tensor place) {
    if (!config.rotary()) {
      return null;
    }
    TensorType table = rotaryType();
    return new Rotary(
        graph,
        place,
        graph.leaf(Rotary.COS, table, Role.CONSTANT),
        graph.leaf(Rotary.SIN, table, Role.CONSTANT));
  }

  /** Type of the rotary tables: [positions, N/2]. */
  public TensorType rotaryType() {
    return TensorType.f32(positions, config.headDim() / 2);
  }

  private static Tensor input(Graph graph, String name, long extent) {
    return graph.leaf(name, TensorType.i32(extent), Role.INPUT);
  }
}
