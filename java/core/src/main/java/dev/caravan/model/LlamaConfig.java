package dev.caravan.model;

import dev.caravan.graph.Division;
import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Every dimension and choice of a LLaMA-family decoder (LLaMA 1 to 3, Mistral, Qwen2, Qwen3, and with
 * sparse experts Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE). The model function reads nothing else.
 *
 * @param modelType Hugging Face's name of the family: llama, mistral, qwen2, qwen3, mixtral, qwen2_moe,
 *     qwen3_moe or olmoe
 * @param vocab rows of the embedding
 * @param dModel width of the residual stream
 * @param layers number of blocks
 * @param heads query heads
 * @param kvHeads key and value heads; divides heads
 * @param headDim width of one head; even
 * @param ffn width of the SwiGLU feed-forward layer
 * @param eps added to the mean square in every RMSNorm
 * @param tied whether the output projection is the embedding itself
 * @param qkvBias whether the q, k and v projections have a bias
 * @param oBias whether the attention output projection has a bias
 * @param mlpBias whether gate, up and down have a bias
 * @param qkNorm whether q and k are RMS-normalised per head before the rotary embedding (Qwen3)
 * @param slidingWindow per layer: the number of tokens that a query sees, itself included; 0 = all
 * @param ropeTheta base of the rotary frequencies
 * @param ropeScaling how the frequencies are stretched
 * @param maxPosition longest sequence that the model is meant for, in tokens
 * @param initializerRange standard deviation of randomly initialised matrices
 * @param bosId token that begins a text, where there is one
 * @param eosIds tokens that end a text; may be empty
 * @param wideQkNorm whether the norms of q and k are over all heads together rather than per head (OLMoE)
 * @param experts its sparse experts, where it has any
 */
public record LlamaConfig(
    String modelType,
    int vocab,
    int dModel,
    int layers,
    int heads,
    int kvHeads,
    int headDim,
    int ffn,
    double eps,
    boolean tied,
    boolean qkvBias,
    boolean oBias,
    boolean mlpBias,
    boolean qkNorm,
    List<Integer> slidingWindow,
    double ropeTheta,
    RopeScaling ropeScaling,
    int maxPosition,
    double initializerRange,
    OptionalInt bosId,
    List<Integer> eosIds,
    boolean wideQkNorm,
    Optional<ExpertsConfig> experts)
    implements DecoderConfig {

  /** A dense model with per-head norms of q and k, or none. */
  public LlamaConfig(
      String modelType,
      int vocab,
      int dModel,
      int layers,
      int heads,
      int kvHeads,
      int headDim,
      int ffn,
      double eps,
      boolean tied,
      boolean qkvBias,
      boolean oBias,
      boolean mlpBias,
      boolean qkNorm,
      List<Integer> slidingWindow,
      double ropeTheta,
      RopeScaling ropeScaling,
      int maxPosition,
      double initializerRange,
      OptionalInt bosId,
      List<Integer> eosIds) {
    this(
        modelType,
        vocab,
        dModel,
        layers,
        heads,
        kvHeads,
        headDim,
        ffn,
        eps,
        tied,
        qkvBias,
        oBias,
        mlpBias,
        qkNorm,
        slidingWindow,
        ropeTheta,
        ropeScaling,
        maxPosition,
        initializerRange,
        bosId,
        eosIds,
        false,
        Optional.empty());
  }

  /** Copies the lists and checks that there is one sliding window per layer. */
  public LlamaConfig {
    slidingWindow = List.copyOf(slidingWindow);
    eosIds = List.copyOf(eosIds);
    if (slidingWindow.size() != layers) {
      throw new IllegalArgumentException(
          "slidingWindow: got " + slidingWindow.size() + " entries for " + layers + " layers");
    }
  }

  @Override
  public int qDim() {
    return heads * headDim;
  }

  /** Width of all key heads together, which is that of all value heads. */
  public int kvDim() {
    return kvHeads * headDim;
  }

  /** Whether a layer has sparse experts in place of its feed-forward layer. */
  public boolean sparse(int layer) {
    return experts.isPresent() && experts.get().sparse().get(layer);
  }

  @Override
  public int slidingWindow(int layer) {
    return slidingWindow.get(layer);
  }

  @Override
  public boolean rotary() {
    return true;
  }

  @Override
  public List<WeightSpec> specs() {
    return LlamaWeights.specs(this);
  }

  @Override
  public Division division(int ranks) {
    return LlamaWeights.division(this, ranks);
  }

  @Override
  public Decoder decoder(Layers nn, Rotary rope, Attend attention, SparseExperts experts) {
    return new Llama(this, nn, rope, attention, experts);
  }
}
