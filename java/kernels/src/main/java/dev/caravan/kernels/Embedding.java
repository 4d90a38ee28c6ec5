package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_embedding_backward_args;
import dev.caravan.kernels.abi.caravan_embedding_forward_args;

/** Rows of a table by token id. An id outside 0 to V-1, or outside the whole table, is refused. */
public final class Embedding {
  private Embedding() {}

  /**
   * {@code out[t] = table[ids[t]]}.
   *
   * @param ids i32 [T]
   * @param table float [V, D]
   * @param out float [T, D] =
   */
  public static KernelCall forward(TensorRef ids, TensorRef table, TensorRef out) {
    return forwardOfPart(ids, table, out, 0, 0);
  }

  /**
   * The same of a part of a table: its rows {@code first} to {@code first + V - 1}, of which those from
   * {@code whole} on are padding. Ids of other parts give rows of 0.
   *
   * @param ids i32 [T], each in 0 to {@code whole - 1}
   */
  public static KernelCall forwardOfPart(
      TensorRef ids, TensorRef table, TensorRef out, long first, long whole) {
    caravan_embedding_forward_args args = zeroed(new caravan_embedding_forward_args());
    set(args.ids(), ids);
    set(args.table(), table);
    set(args.out(), out);
    args.first(first).whole(whole);
    return KernelCall.of(
        "embedding_forward", args, stream -> Caravan.caravan_embedding_forward(stream, args));
  }

  /**
   * {@code dTable[ids[t]] += dOut[t]}, rows of one id in the order of t.
   *
   * @param ids i32 [T]
   * @param dOut float [T, D]
   * @param dTable float [V, D] +=
   * @param rows i32 [1] or null: the leading rows of {@code dOut} that count
   */
  public static KernelCall backward(
      TensorRef ids, TensorRef dOut, TensorRef dTable, TensorRef rows) {
    return backwardOfPart(ids, dOut, dTable, rows, 0, 0);
  }

  /** The same of a part of a table, as in {@link #forwardOfPart}: ids of other parts add nothing. */
  public static KernelCall backwardOfPart(
      TensorRef ids, TensorRef dOut, TensorRef dTable, TensorRef rows, long first, long whole) {
    caravan_embedding_backward_args args = zeroed(new caravan_embedding_backward_args());
    set(args.ids(), ids);
    set(args.d_out(), dOut);
    set(args.d_table(), dTable);
    set(args.rows(), rows);
    args.first(first).whole(whole);
    return KernelCall.of(
        "embedding_backward",
        args,
        stream -> Caravan.caravan_embedding_backward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_embedding_backward_workspace(kind, args, bytes));
  }
}
