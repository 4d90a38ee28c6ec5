package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.graph.Executor;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import dev.caravan.ops.Attention;
import dev.caravan.ops.ExpertLayer;
import dev.caravan.ops.Node;
import dev.caravan.ops.Router;
import dev.caravan.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;

/**
 * A step whose gradient is not finite: training stops before the weights are touched, and the message
 * says in which op and for which examples the first such value arose.
 */
public final class NonFinite extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private static final int EXAMPLES_NAMED = 8;

  /** What a router is blamed with. */
  private static final String LOGITS = "router logits are not finite";

  private final boolean router;

  private NonFinite(String message, boolean router) {
    super(message);
    this.router = router;
  }

  /** The failure of a step, nothing more known than that. */
  static NonFinite of(int number, String found) {
    return new NonFinite(
        "step " + number + ": " + found + "; the weights were not updated", found.contains(LOGITS));
  }

  /** Whether the first such value was a logit of a router: no expert can be chosen by it. */
  public boolean ofRouter() {
    return router;
  }

  /** Names the op and the examples, by the first node of one micro-batch that makes such a value. */
  static Optional<String> locate(Executor executor, String unit, MicroBatch batch) {
    String[] found = new String[1];
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      executor.trace(
          unit,
          batch.targets(),
          node -> {
            if (found[0] == null && makesNonFinite(executor, unit, node, access)) {
              String what =
                  routed(executor, unit, node)
                      ? node.scope() + ": " + LOGITS
                      : node + " gives values that are not finite";
              found[0] = what + ", for examples " + examples(batch);
            }
          });
    }
    return Optional.ofNullable(found[0]);
  }

  /** Whether a router reads what the node makes. */
  private static boolean routed(Executor executor, String unit, Node node) {
    return executor.plan().units().get(unit).graph().nodes().stream()
        .anyMatch(other -> other.op() instanceof Router && other.in(0) == node.out(0));
  }

  /** What is known when no op could be named. */
  static String unlocated(Step step) {
    return "the gradient is not finite, for examples "
        + step.firstK()
        + " to "
        + (step.nextK() - 1);
  }

  private static String examples(MicroBatch batch) {
    int named = Math.min(EXAMPLES_NAMED, batch.documents());
    long[] numbers = new long[named];
    for (int i = 0; i < named; i++) {
      numbers[i] = batch.example(i);
    }
    String list = Arrays.toString(numbers);
    return named < batch.documents() ? list + " and more" : list;
  }

  /**
   * Statistics of rows are left out: the log-sum-exp of padding is minus infinity by right, and losses
   * behind the last target are never written. Nor are rows of experts behind the last one in use.
   */
  private static boolean makesNonFinite(
      Executor executor, String unit, Node node, TensorAccess access) {
    boolean second = node.op() instanceof Attention || node.op() instanceof ExpertLayer;
    boolean fifth = node.op() instanceof ExpertLayer.Backward;
    for (int i = 0; i < node.outputs().size(); i++) {
      Tensor output = node.out(i);
      boolean statistic =
          output.type().rank() < 2 || (second && i == 1) || (fifth && i == 4);
      if (!statistic && hasNonFinite(executor.tensor(unit, output), access)) {
        return true;
      }
    }
    return false;
  }

  private static boolean hasNonFinite(TensorRef tensor, TensorAccess access) {
    boolean wide = tensor.dtype() == DType.F32;
    if (!wide && tensor.dtype() != DType.BF16) {
      return false;
    }
    for (long at = 0; at < tensor.bytes(); at += access.window()) {
      int bytes = (int) Math.min(access.window(), tensor.bytes() - at);
      ByteBuffer view = access.read(tensor.address() + at, bytes);
      for (int i = 0; i < bytes; i += tensor.dtype().bytes()) {
        int exponent = wide ? view.getInt(i) >>> 23 & 0xff : view.getShort(i) >>> 7 & 0xff;
        if (exponent == 0xff) {
          return true;
        }
      }
    }
    return false;
  }
}
