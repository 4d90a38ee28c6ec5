package dev.caravan.model;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A dense model by its counts: enough to say what training it takes, of families that are not built.
 * Feed-forward layers are gated. In a decoder alone the embedding is the output projection and a block
 * has one norm; in an encoder-decoder the two are apart, a sublayer has one norm, and encoder and decoder
 * have a bias of {@value #POSITIONS} relative positions each.
 *
 * @param layers blocks of the decoder
 * @param dModel width of the residual stream
 * @param qDim heads times their dimension
 * @param kvDim heads of keys and values times their dimension
 * @param ffn width of a feed-forward layer
 * @param vocab tokens
 * @param encoderLayers blocks of the encoder; 0 for a decoder alone
 */
public record ModelShape(
    int layers, int dModel, int qDim, int kvDim, int ffn, int vocab, int encoderLayers) {
  private static final int POSITIONS = 32;
  private static final int T5_HEAD = 64;

  /**
   * By family and size. PaLM: Chowdhery et al. 2022, arXiv 2204.02311, table 1 and section 2. Attention and
   * feed-forward layer stand side by side behind one norm; there is one head of keys and values, as wide as
   * the others. T5 1.1: google-research/t5x, t5_1_1/*.gin.
   */
  private static final Map<String, Map<String, ModelShape>> KNOWN =
      Map.of("palm", new LinkedHashMap<>(), "t5", new LinkedHashMap<>());

  static {
    KNOWN.get("palm").put("8b", palm(32, 4096, 16));
    KNOWN.get("palm").put("62b", palm(64, 8192, 32));
    KNOWN.get("palm").put("540b", palm(118, 18_432, 48));
    KNOWN.get("t5").put("small", t5(8, 512, 6, 1024));
    KNOWN.get("t5").put("base", t5(12, 768, 12, 2048));
    KNOWN.get("t5").put("large", t5(24, 1024, 16, 2816));
    KNOWN.get("t5").put("xl", t5(24, 2048, 32, 5120));
    KNOWN.get("t5").put("xxl", t5(24, 4096, 64, 10_240));
  }

  /** The shape of a family's named size; empty where it is not known. */
  public static Optional<ModelShape> of(String family, String size) {
    return Optional.ofNullable(of(family).get(size));
  }

  /** The shapes of a family by size. */
  static Map<String, ModelShape> of(String family) {
    return KNOWN.getOrDefault(family, Map.of());
  }

  private static ModelShape palm(int layers, int dModel, int heads) {
    int head = 256;
    return new ModelShape(layers, dModel, heads * head, head, 4 * dModel, 256_000, 0);
  }

  private static ModelShape t5(int layers, int dModel, int heads, int ffn) {
    int width = heads * T5_HEAD;
    return new ModelShape(layers, dModel, width, width, ffn, 32_128, layers);
  }

  /** Whether it has an encoder. */
  public boolean isEncoderDecoder() {
    return encoderLayers > 0;
  }

  /** Blocks of both sides. */
  public int blocks() {
    return layers + encoderLayers;
  }

  /** Weights of the products of one block, without the decoder's look at the encoder. */
  public long block() {
    return 2L * dModel * (qDim + kvDim) + 3L * dModel * ffn;
  }

  /** Weights of the products by which a block of the decoder looks at the encoder. */
  private long across() {
    return isEncoderDecoder() ? 2L * dModel * (qDim + kvDim) : 0;
  }

  /** Weights of the largest block's products. */
  public long largestBlock() {
    return block() + across();
  }

  /** Weights of the embedding. */
  public long embedding() {
    return (long) vocab * dModel;
  }

  /** All weights. */
  public long parameters() {
    if (!isEncoderDecoder()) {
      return layers * (block() + dModel) + embedding() + dModel;
    }
    long norms = 2L * encoderLayers + 3L * layers + 2;
    long positions = 2L * POSITIONS * qDim / T5_HEAD;
    return blocks() * block() + layers * across() + 2 * embedding() + norms * dModel + positions;
  }

  /**
   * Model FLOPs of a training token, as {@link LlamaCost#trainingFlopsPerToken} counts them; of an
   * encoder-decoder the mean over the tokens of a source and its target, both of full length.
   *
   * @param sequence tokens of a row, or of a source
   * @param target tokens of a target, where there is an encoder
   */
  public double trainingFlopsPerToken(int sequence, int target) {
    if (!isEncoderDecoder()) {
      return 6.0 * (layers * block() + embedding())
          + 12.0 * layers * qDim * LlamaCost.averageKeys(sequence, 0);
    }
    // The encoder's output becomes keys and values once a decoder block; queries come from the target.
    double ofSource =
        6.0 * (encoderLayers * block() + layers * 2L * dModel * kvDim)
            + 12.0 * encoderLayers * qDim * sequence;
    double ofTarget =
        6.0 * (layers * (block() + 2L * dModel * qDim) + embedding())
            + 12.0 * layers * qDim * (LlamaCost.averageKeys(target, 0) + sequence);
    return (sequence * ofSource + target * ofTarget) / (sequence + target);
  }

  /** The share of a training token's FLOPs of which none is computed again: the output projection's. */
  public double outputFlopsPerToken(int sequence, int target) {
    double share = isEncoderDecoder() ? (double) target / (sequence + target) : 1;
    return share * 6.0 * embedding();
  }
}
