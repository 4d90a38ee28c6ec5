package dev.caravan.bench;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The shapes that kernels are measured at: those of a block of one model.
 *
 * @param tokens rows
 * @param width of the residual stream
 * @param ffn width of the feed-forward layer
 * @param heads of queries
 * @param kvHeads of keys and values
 * @param headDim elements of a head
 * @param vocab logits of a row
 * @param logitRows rows of logits at once
 * @param parameters of an optimizer call
 */
public record Dims(
    int tokens,
    int width,
    int ffn,
    int heads,
    int kvHeads,
    int headDim,
    int vocab,
    int logitRows,
    int parameters) {
  private static final Map<String, Dims> NAMED = new LinkedHashMap<>();

  static {
    // Every path in a fraction of a second.
    NAMED.put("tiny", new Dims(70, 48, 80, 4, 2, 16, 130, 9, 5000));
    // The 15M model of bench/train, a buffer of 2,048 tokens: much of it stays in the caches.
    NAMED.put("15m", new Dims(2048, 288, 768, 6, 6, 48, 32000, 256, 1 << 24));
    // Working sets beyond the caches of most processors.
    NAMED.put("1b", new Dims(2048, 2048, 5632, 32, 4, 64, 32000, 256, 1 << 25));
    // Llama 3 8B, a buffer of 8,192 tokens.
    NAMED.put("8b", new Dims(8192, 4096, 14336, 32, 8, 128, 128256, 1024, 1 << 28));
  }

  /**
   * By name.
   *
   * @throws UserError if there is no such size, naming the nearest
   */
  public static Dims of(String name) {
    Dims dims = NAMED.get(name);
    if (dims == null) {
      throw new UserError("--size: " + Nearest.unknown("size", name, NAMED.keySet()));
    }
    return dims;
  }

  /** The size that suits a kind of device. */
  public static String defaultName(Device.Kind kind) {
    return kind == Device.Kind.CPU ? "15m" : "8b";
  }
}
