package dev.caravan.oracle;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * PyTorch as these tests use it: random inputs, poisoned outputs, and an expression traced with its
 * gradients. A tensor's memory is handed to Caravan's ops as it is, so nothing is copied between.
 *
 * <p>NOTE: what an in-place method returns is a reference to the tensor that it was called on,
 * which ends with that object; so in-place calls stand alone, and their results are never used.
 */
final class Torch {
  static final ScalarType F64 = ScalarType.Double;
  static final ScalarType F32 = ScalarType.Float;
  static final ScalarType BF16 = ScalarType.BFloat16;

  /** Elements of NaN before and behind an output; odd, so that outputs are aligned to nothing. */
  private static final int GUARD = 17;

  private Torch() {}

  /** An expression of PyTorch operations that works at any precision. */
  @FunctionalInterface
  interface Expression {
    Tensor of(Tensor... inputs);
  }

  /** The value of an expression and the gradient of each of its inputs. */
  record Traced(Tensor value, List<Tensor> gradients) {
    Tensor gradient(int input) {
      return gradients.get(input);
    }
  }

  /** The element type, as one of the constants above. */
  static ScalarType type(Tensor tensor) {
    return tensor.scalar_type().intern();
  }

  /** Starts the random stream of a test; its inputs are the same in every run. */
  static void seed(long seed) {
    torch.manual_seed(seed);
  }

  /** Standard normal values, rounded to the type. */
  static Tensor randn(ScalarType type, long... shape) {
    return torch.randn(shape, new TensorOptions(F64)).to(type);
  }

  static Tensor zeros(ScalarType type, long... shape) {
    return torch.zeros(shape, new TensorOptions(type));
  }

  /** A vector of int32. */
  static Tensor ints(int... values) {
    Tensor tensor =
        torch.empty(new long[] {values.length}, new TensorOptions(ScalarType.Int), null);
    if (values.length > 0) {
      new IntPointer(tensor.data_ptr()).put(values);
    }
    return tensor;
  }

  /** The same values as a vector of int64, which PyTorch indexes with. */
  static Tensor index(int... values) {
    return ints(values).to(ScalarType.Long);
  }

  static Scalar number(double value) {
    return new Scalar(value);
  }

  /** An output full of NaN, with NaN before and behind it that must stay. */
  static Tensor poisoned(ScalarType type, long... shape) {
    long count = 1;
    for (long extent : shape) {
      count *= extent;
    }
    Tensor all = full(type, Double.NaN, count + 2 * GUARD);
    return all.narrow(0, GUARD, count).view(shape);
  }

  /** An output that holds the given values, guarded as {@link #poisoned} is. */
  static Tensor guardedCopy(Tensor values) {
    long[] shape = new long[(int) values.dim()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = values.size(i);
    }
    Tensor output = poisoned(type(values), shape);
    output.copy_(values);
    return output;
  }

  /** A tensor with all elements the same. */
  static Tensor full(ScalarType type, double value, long... shape) {
    return torch.full(shape, number(value), new TensorOptions(type));
  }

  /** Whether nothing was written before or behind a tensor that {@link #poisoned} made. */
  static boolean guarded(Tensor output) {
    long count = output.numel();
    long[] whole = {count + 2 * GUARD};
    Tensor all = output.as_strided(whole, new long[] {1}, new org.bytedeco.pytorch.LongOptional(0));
    Tensor before = all.narrow(0, 0, GUARD);
    Tensor behind = all.narrow(0, GUARD + count, GUARD);
    return before.isnan().all().item_bool() && behind.isnan().all().item_bool();
  }

  /**
   * Evaluates an expression and its gradients at one precision.
   *
   * @param type the precision of every operation
   * @param expression what to evaluate
   * @param gradient of the value, as it arrives from above
   * @param inputs of any type; converted
   */
  static Traced trace(ScalarType type, Expression expression, Tensor gradient, Tensor... inputs) {
    Tensor[] leaves = new Tensor[inputs.length];
    for (int i = 0; i < inputs.length; i++) {
      leaves[i] = inputs[i].detach().clone().to(type);
      leaves[i].set_requires_grad(true);
    }
    Tensor value = expression.of(leaves);
    value.backward(gradient.to(type), new BoolOptional(), false, new TensorArrayRefOptional());
    List<Tensor> gradients = new ArrayList<>();
    for (Tensor leaf : leaves) {
      gradients.add(leaf.grad().defined() ? leaf.grad().clone() : torch.zeros_like(leaf));
    }
    return new Traced(value.detach(), gradients);
  }
}
