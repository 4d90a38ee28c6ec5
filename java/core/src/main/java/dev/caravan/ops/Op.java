package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * One kind of computation, as a record of its settings: its shape rule, its gradient and its kernel
 * calls. A new op is one such record.
 */
public interface Op {
  /** No output shares memory with an input. */
  int NO_ALIAS = -1;

  /** Name for people, profiles and errors. */
  String name();

  /**
   * Types of the outputs.
   *
   * @throws IllegalArgumentException if the inputs do not fit together, saying which and why
   */
  List<TensorType> outputs(List<Tensor> inputs);

  /**
   * Adds to {@code gradients} what flows from the node's outputs to its inputs.
   *
   * @throws UnsupportedOperationException if the op has no gradient
   */
  default void backward(Node node, Gradients gradients) {
    throw new UnsupportedOperationException(name() + " has no gradient");
  }

  /** Temporaries that live only while the node runs; what kernels ask for comes on top. */
  default List<TensorType> scratch(Node node) {
    return List.of();
  }

  /**
   * The kernel calls of the node, in order, on the addresses that {@code memory} gives. A plan asks
   * once without real addresses, to learn what workspaces the kernels need.
   */
  List<Launch> launches(Node node, Addresses memory);

  /**
   * The input whose memory the output must take over, because the kernel adds to what is there; or
   * {@link #NO_ALIAS}. Such an input may not be read by any later node.
   */
  default int inPlace(int output) {
    return NO_ALIAS;
  }

  /** The input that the output is another view of, unchanged; or {@link #NO_ALIAS}. */
  default int viewOf(int output) {
    return NO_ALIAS;
  }

  /**
   * The input whose memory the output may take over, when nothing reads that input afterwards; or
   * {@link #NO_ALIAS}.
   */
  default int mayReuse(int output) {
    return NO_ALIAS;
  }

  /** Whether computing it again costs little against keeping its output: norms, gates, rotations. */
  default boolean cheap() {
    return false;
  }

  /** Bytes that one rank sends to others; more than 0 only where ranks exchange something. */
  default long wireBytes(Node node) {
    return 0;
  }

  /**
   * Whether from this node on the bucket of its inputs lies whole in the arena; see {@link
   * Addresses#bucket}.
   */
  default boolean opensWindow() {
    return false;
  }

  /** Whether it belongs to an exchange between ranks, rather than to the model. */
  default boolean exchanges() {
    return false;
  }

  /** Whether the host reads what the device has made while the node runs, so that it cannot be recorded. */
  default boolean readsOnHost() {
    return false;
  }

  /** Floating-point operations, a multiplication and an addition counted as two; 0 if negligible. */
  default long flops(Node node) {
    return 0;
  }
}
