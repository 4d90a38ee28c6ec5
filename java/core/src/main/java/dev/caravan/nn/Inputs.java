package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;

/**
 * What the host writes before a launch: one packed buffer of T token rows holding S documents.
 *
 * @param ids token ids, i32 [T]
 * @param positions position of each token in its document, i32 [T]
 * @param documents where documents begin, i32 [S + 1], padded with its last value
 * @param tokens how many leading rows are in use, i32 [1]
 * @param targetRows rows whose hidden state predicts a target, i32 [T]
 * @param targetIds what they predict, i32 [T]
 * @param targets how many there are, i32 [1]
 * @param state step state: learning rate, 1 / targets of the step, loss so far
 */
public record Inputs(
    Tensor ids,
    Tensor positions,
    Tensor documents,
    Tensor tokens,
    Tensor targetRows,
    Tensor targetIds,
    Tensor targets,
    Tensor state) {
  /** Name of the step state's leaf. */
  public static final String STATE = "state";

  /** Size of the step state in bytes: caravan_step_state, rounded up. */
  public static final long STATE_BYTES = 256;

  /** The inputs of a buffer of {@code tokens} rows and at most {@code documents} documents. */
  public static Inputs packed(Graph graph, long tokens, long documents) {
    return new Inputs(
        input(graph, "ids", tokens),
        input(graph, "positions", tokens),
        input(graph, "documents", documents + 1),
        input(graph, "tokens", 1),
        input(graph, "target_rows", tokens),
        input(graph, "target_ids", tokens),
        input(graph, "targets", 1),
        graph.leaf(STATE, TensorType.bytes(STATE_BYTES), Role.STATE));
  }

  private static Tensor input(Graph graph, String name, long extent) {
    return graph.leaf(name, TensorType.i32(extent), Role.INPUT);
  }
}
