package dev.caravan.train;

import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.graph.Executor;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import dev.caravan.ops.Attention;
import dev.caravan.ops.Node;
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

  private NonFinite(String message) {
    super(message);
  }

  /** The failure of a step, nothing more known than that. */
  static NonFinite of(int number, String found) {
    return new NonFinite(
        "step " + number + ": " + found + "; the weights were not updated");
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
              found[0] =
                  node + " gives values that are not finite, for examples " + examples(batch);
            }
          });
    }
    return Optional.ofNullable(found[0]);
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
   * behind the last target are never written.
   */
  private static boolean makesNonFinite(
      Executor executor, String unit, Node node, TensorAccess access) {
    boolean attention = node.op() instanceof Attention;
    for (int i = 0; i < node.outputs().size(); i++) {
      Tensor output = node.out(i);
      boolean statistic = output.type().rank() < 2 || (attention && i == 1);
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
