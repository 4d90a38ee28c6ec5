package dev.caravan.model;

import java.util.Optional;

/**
 * A dense decoder by its counts: enough to say what training it takes, of families that are not built.
 * Feed-forward layers are gated; the embedding is the output projection; a block has one norm.
 *
 * @param layers blocks
 * @param dModel width of the residual stream
 * @param qDim heads times their dimension
 * @param kvDim heads of keys and values times their dimension
 * @param ffn width of a feed-forward layer
 * @param vocab tokens
 */
public record ModelShape(int layers, int dModel, int qDim, int kvDim, int ffn, int vocab) {
  /**
   * PaLM: Chowdhery et al. 2022, arXiv 2204.02311, table 1 and section 2. Attention and feed-forward layer
   * stand side by side behind one norm; there is one head of keys and values, as wide as the others.
   */
  public static Optional<ModelShape> of(String family, String size) {
    return Optional.ofNullable(
        switch (family + " " + size) {
          case "palm 8b" -> palm(32, 4096, 16);
          case "palm 62b" -> palm(64, 8192, 32);
          case "palm 540b" -> palm(118, 18_432, 48);
          default -> null;
        });
  }

  private static ModelShape palm(int layers, int dModel, int heads) {
    int head = 256;
    return new ModelShape(layers, dModel, heads * head, head, 4 * dModel, 256_000);
  }

  /** Weights of one block's products. */
  public long block() {
    return 2L * dModel * (qDim + kvDim) + 3L * dModel * ffn;
  }

  /** Weights of the embedding. */
  public long embedding() {
    return (long) vocab * dModel;
  }

  /** All weights. */
  public long parameters() {
    return layers * (block() + dModel) + embedding() + dModel;
  }

  /** Model FLOPs of a training token, as {@link LlamaCost#trainingFlopsPerToken} counts them. */
  public double trainingFlopsPerToken(int sequence) {
    return 6.0 * (layers * block() + embedding())
        + 12.0 * layers * qDim * LlamaCost.averageKeys(sequence, 0);
  }
}
