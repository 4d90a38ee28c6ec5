package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_attention_backward_args;
import dev.caravan.kernels.abi.caravan_attention_forward_args;
import dev.caravan.kernels.abi.caravan_cache_append_args;

/**
 * Fused attention over packed documents; scores never exist whole. Document s owns the query rows
 * {@code cuQ[s] .. cuQ[s+1]-1} and the key rows {@code cuK[s] .. cuK[s+1]-1}. Query head h reads
 * key/value head h / (H / K). Sources: Dao et al. 2022, arXiv 2205.14135; Dao 2023, arXiv
 * 2307.08691.
 */
public final class Attention {
  private Attention() {}

  /**
   * What is attended to, and how.
   *
   * @param scale factor on q . k, usually 1/sqrt(N)
   * @param softCap scores become softCap * tanh(score / softCap); 0 for none
   * @param causal whether keys behind the query's position are hidden; the last query of a document
   *     stands at its last key
   * @param windowLeft how many keys before the query are seen; -1 for all
   * @param windowRight how many keys after the query are seen; -1 for all
   * @param biasBidirectional whether half of the buckets are for keys after the query
   * @param biasMaxDistance distance from which on all share the last bucket
   */
  public record Options(
      float scale,
      float softCap,
      boolean causal,
      int windowLeft,
      int windowRight,
      boolean biasBidirectional,
      int biasMaxDistance) {
    /** Causal, nothing else. */
    public static Options causal(float scale) {
      return new Options(scale, 0, true, -1, -1, false, 0);
    }

    /** Everything sees everything in its document. */
    public static Options full(float scale) {
      return new Options(scale, 0, false, -1, -1, false, 0);
    }

    /** The same, with a sliding window: each query sees itself and {@code left} keys before it. */
    public Options window(int left) {
      return new Options(
          scale, softCap, causal, left, windowRight, biasBidirectional, biasMaxDistance);
    }
  }

  /**
   * {@code out = softmax(scores) v}; a row that sees no key is 0, with lse -infinity, and so are
   * rows of out outside every document.
   *
   * @param q float [Tq, H, N]
   * @param k float [Tk, K, N]
   * @param v float [Tk, K, M]
   * @param out float [Tq, H, M] =
   * @param lse f32 [H, Tq] =: log of the sum of exp(score); null when no backward follows
   * @param cuQ i32 [S + 1], ascending from 0, last at most Tq; may be padded with its last value
   * @param cuK i32 [S + 1], the same for keys
   * @param biasTable f32 [B, H] or null: added to scores by distance. Source: Raffel et al. 2020,
   *     arXiv 1910.10683, section 2.1
   * @param sinks f32 [H] or null: exp(sinks[h]) joins the soft-max's denominator, and so lse
   */
  public static KernelCall forward(
      TensorRef q,
      TensorRef k,
      TensorRef v,
      TensorRef out,
      TensorRef lse,
      TensorRef cuQ,
      TensorRef cuK,
      TensorRef biasTable,
      TensorRef sinks,
      Options options) {
    return forward(q, k, v, out, lse, cuQ, cuK, null, 0, biasTable, sinks, options);
  }

  /**
   * The same with keys and values in pages of {@code pageRows} rows of k and v: key j of document s
   * is row {@code pages[s][j / pageRows] * pageRows + j % pageRows}. {@code cuK} then says how many
   * keys each document has; its last value may exceed Tk, as documents may share pages. Source: Kwon
   * et al. 2023, arXiv 2309.06180, section 4.1.
   *
   * @param pages i32 [S, L], those of a document's keys below Tk / pageRows
   * @param pageRows a multiple of 16 that divides Tk
   */
  public static KernelCall forward(
      TensorRef q,
      TensorRef k,
      TensorRef v,
      TensorRef out,
      TensorRef lse,
      TensorRef cuQ,
      TensorRef cuK,
      TensorRef pages,
      int pageRows,
      TensorRef biasTable,
      TensorRef sinks,
      Options options) {
    caravan_attention_forward_args args = zeroed(new caravan_attention_forward_args());
    set(args.q(), q);
    set(args.k(), k);
    set(args.v(), v);
    set(args.out(), out);
    set(args.lse(), lse);
    set(args.cu_q(), cuQ);
    set(args.cu_k(), cuK);
    set(args.bias_table(), biasTable);
    set(args.sinks(), sinks);
    set(args.pages(), pages);
    args.page_rows(pageRows);
    args.scale(options.scale)
        .soft_cap(options.softCap)
        .causal(options.causal ? 1 : 0)
        .window_left(options.windowLeft)
        .window_right(options.windowRight)
        .bias_bidirectional(options.biasBidirectional ? 1 : 0)
        .bias_max_distance(options.biasMaxDistance);
    return KernelCall.of(
        "attention_forward",
        args,
        stream -> Caravan.caravan_attention_forward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_attention_forward_workspace(kind, args, bytes));
  }

  /**
   * Gradients of {@link #forward}, whose tensors and options it takes again.
   *
   * @param dOut float [Tq, H, M]
   * @param dQ float [Tq, H, N] =, 0 outside documents; dK and dV likewise, in the shapes of k and v
   * @param dBiasTable f32 [B, H] +=, present when {@code biasTable} is
   * @param dSinks f32 [H] +=, present when {@code sinks} is
   */
  public static KernelCall backward(
      TensorRef dOut,
      TensorRef q,
      TensorRef k,
      TensorRef v,
      TensorRef out,
      TensorRef lse,
      TensorRef cuQ,
      TensorRef cuK,
      TensorRef biasTable,
      TensorRef sinks,
      TensorRef dQ,
      TensorRef dK,
      TensorRef dV,
      TensorRef dBiasTable,
      TensorRef dSinks,
      Options options) {
    caravan_attention_backward_args args = zeroed(new caravan_attention_backward_args());
    set(args.d_out(), dOut);
    set(args.q(), q);
    set(args.k(), k);
    set(args.v(), v);
    set(args.out(), out);
    set(args.lse(), lse);
    set(args.cu_q(), cuQ);
    set(args.cu_k(), cuK);
    set(args.bias_table(), biasTable);
    set(args.sinks(), sinks);
    set(args.d_q(), dQ);
    set(args.d_k(), dK);
    set(args.d_v(), dV);
    set(args.d_bias_table(), dBiasTable);
    set(args.d_sinks(), dSinks);
    args.scale(options.scale)
        .soft_cap(options.softCap)
        .causal(options.causal ? 1 : 0)
        .window_left(options.windowLeft)
        .window_right(options.windowRight)
        .bias_bidirectional(options.biasBidirectional ? 1 : 0)
        .bias_max_distance(options.biasMaxDistance);
    return KernelCall.of(
        "attention_backward",
        args,
        stream -> Caravan.caravan_attention_backward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_attention_backward_workspace(kind, args, bytes));
  }

  /**
   * {@code cache[start + i] = x[i]}: new keys or values behind those already there.
   *
   * @param x float [R, K, N]
   * @param cache float [P, K, N]
   * @param start i32 [1], start + R at most P
   */
  public static KernelCall cacheAppend(TensorRef x, TensorRef cache, TensorRef start) {
    caravan_cache_append_args args = zeroed(new caravan_cache_append_args());
    set(args.x(), x);
    set(args.cache(), cache);
    set(args.start(), start);
    return KernelCall.of(
        "cache_append_forward", args, stream -> Caravan.caravan_cache_append_forward(stream, args));
  }
}
