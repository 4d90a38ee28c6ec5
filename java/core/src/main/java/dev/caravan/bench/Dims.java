package dev.caravan.bench;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import java.util.LinkedHashMap;
import java.util.List;
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
 * @param experts of a sparse layer
 * @param choices experts of a token; each has the feed-forward layer's width divided by them
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
    int parameters,
    int experts,
    int choices) {
  private static final Map<String, Dims> NAMED = new LinkedHashMap<>();

  static {
    // Every path in a fraction of a second.
    NAMED.put("tiny", new Dims(70, 48, 80, 4, 2, 16, 130, 9, 5000, 4, 2));
    // The 15M model of bench/train, a buffer of 2,048 tokens: much of it stays in the caches.
    NAMED.put("15m", new Dims(2048, 288, 768, 6, 6, 48, 32000, 256, 1 << 24, 8, 2));
    // Working sets beyond the caches of most processors.
    NAMED.put("1b", new Dims(2048, 2048, 5632, 32, 4, 64, 32000, 256, 1 << 25, 8, 2));
    // Llama 3 8B, a buffer of 8,192 tokens.
    NAMED.put("8b", new Dims(8192, 4096, 14336, 32, 8, 128, 128256, 1024, 1 << 28, 8, 2));
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

  /**
   * The same with some extents changed.
   *
   * @param assignments for example tokens=512; the names are tokens, width, ffn, heads, kv_heads,
   *     head_dim, vocab, logit_rows, parameters, experts and choices
   * @throws UserError if one is not of that form, or the heads or a token's experts do not share out
   */
  public Dims with(List<String> assignments) {
    Map<String, Integer> extents = extents();
    for (String assignment : assignments) {
      String[] parts = assignment.split("=", 2);
      if (!extents.containsKey(parts[0])) {
        throw new UserError("--shape: " + Nearest.unknown("extent", parts[0], extents.keySet()));
      }
      if (parts.length < 2 || !parts[1].matches("[1-9][0-9]{0,8}")) {
        throw new UserError("--shape: got '" + assignment + "', needs " + parts[0] + "=N");
      }
      extents.put(parts[0], Integer.valueOf(parts[1]));
    }
    int[] e = extents.values().stream().mapToInt(Integer::intValue).toArray();
    if (e[3] % e[4] != 0) {
      throw new UserError(
          "--shape: heads must be a multiple of kv_heads, got " + e[3] + " and " + e[4]);
    }
    if (e[10] > e[9]) {
      throw new UserError(
          "--shape: choices must be at most experts, got " + e[10] + " and " + e[9]);
    }
    return new Dims(e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7], e[8], e[9], e[10]);
  }

  /** Rows of all experts together. */
  int expertRows() {
    return tokens * choices;
  }

  /** Width of one expert: those of a token are together as wide as the dense layer. */
  int expertFfn() {
    return Math.max(ffn / choices, 1);
  }

  /** By name, in the order of the record. */
  private Map<String, Integer> extents() {
    Map<String, Integer> extents = new LinkedHashMap<>();
    extents.put("tokens", tokens);
    extents.put("width", width);
    extents.put("ffn", ffn);
    extents.put("heads", heads);
    extents.put("kv_heads", kvHeads);
    extents.put("head_dim", headDim);
    extents.put("vocab", vocab);
    extents.put("logit_rows", logitRows);
    extents.put("parameters", parameters);
    extents.put("experts", experts);
    extents.put("choices", choices);
    return extents;
  }

  /** The size that suits a kind of device. */
  public static String defaultName(Device.Kind kind) {
    return kind == Device.Kind.CPU ? "15m" : "8b";
  }
}
