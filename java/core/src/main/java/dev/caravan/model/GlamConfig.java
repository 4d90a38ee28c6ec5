package dev.caravan.model;

import dev.caravan.graph.Division;
import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import dev.caravan.ops.Glu;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Every dimension and choice of a GLaM decoder. The model function reads nothing else.
 *
 * @param vocab rows of the embedding, which is the output projection too
 * @param dModel width of the residual stream
 * @param layers number of blocks
 * @param heads of queries, keys and values alike
 * @param headDim width of one head
 * @param ffn width of the gated dense layers
 * @param activation of their gate, and of the experts
 * @param eps added to the mean square in every RMSNorm
 * @param buckets rows of a layer's table of relative positions
 * @param maxDistance from which on all keys share the last bucket, in tokens
 * @param maxPosition longest sequence that the model is meant for, in tokens
 * @param initializerRange standard deviation of randomly initialised matrices
 * @param bosId token that begins a text, where there is one
 * @param eosIds tokens that end a text; may be empty
 * @param experts of the sparse layers; empty where all layers are dense
 */
public record GlamConfig(
    int vocab,
    int dModel,
    int layers,
    int heads,
    int headDim,
    int ffn,
    Glu.Activation activation,
    double eps,
    int buckets,
    int maxDistance,
    int maxPosition,
    double initializerRange,
    OptionalInt bosId,
    List<Integer> eosIds,
    Optional<ExpertsConfig> experts)
    implements DecoderConfig {
  /** Name of the family in config.json. */
  public static final String TYPE = "glam";

  /** Copies the list. */
  public GlamConfig {
    eosIds = List.copyOf(eosIds);
  }

  @Override
  public String modelType() {
    return TYPE;
  }

  @Override
  public int qDim() {
    return heads * headDim;
  }

  @Override
  public boolean tied() {
    return true;
  }

  @Override
  public int slidingWindow(int layer) {
    return 0;
  }

  @Override
  public boolean rotary() {
    return false;
  }

  /** Whether a layer has experts in place of its feed-forward layer. */
  boolean sparse(int layer) {
    return experts.isPresent() && experts.get().sparse().get(layer);
  }

  @Override
  public List<WeightSpec> specs() {
    return Glam.specs(this);
  }

  @Override
  public Division division(int ranks) {
    return Glam.division(this, ranks);
  }

  @Override
  public Decoder decoder(Layers nn, Rotary rope, Attend attention, SparseExperts experts) {
    return new Glam(this, nn, attention, experts);
  }
}
