package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.nn.Inputs;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Values of a graph's leaves by name, in float64. */
final class Values {
  private final Map<String, double[]> values = new LinkedHashMap<>();

  /** No values. */
  public Values() {}

  /** The same values in arrays of their own. */
  public Values copy() {
    Values copy = new Values();
    values.forEach((name, value) -> copy.values.put(name, value.clone()));
    return copy;
  }

  /** Sets one leaf. */
  public Values set(String name, double... value) {
    values.put(name, value);
    return this;
  }

  /** Sets one leaf of integers. */
  public Values set(String name, int[] value) {
    return set(name, Arrays.stream(value).asDoubleStream().toArray());
  }

  /** Sets the part of a step state that graphs use; there are twice as many tokens as targets. */
  public Values state(double inverseTargets) {
    return set(Inputs.STATE, inverseTargets, 0, inverseTargets / 2);
  }

  /** Whether a leaf has a value. */
  public boolean has(String name) {
    return values.containsKey(name);
  }

  /** The value of one leaf. */
  public double[] get(String name) {
    double[] value = values.get(name);
    if (value == null) {
      throw new IllegalStateException(name + " has no value");
    }
    return value;
  }

  /**
   * Fills weights and float inputs and constants that have no value with normal numbers, rounded to
   * the leaf's dtype so that every executor starts from the same ones.
   *
   * @param deviation standard deviation; tensors of one axis (norms, biases) lie around 1
   */
  public Values fillRandom(Graph graph, Random random, double deviation) {
    for (Tensor leaf : graph.leaves()) {
      boolean isFloat = leaf.type().dtype() == DType.F32 || leaf.type().dtype() == DType.BF16;
      boolean given = leaf.role() != Role.GRADIENT && leaf.role() != Role.STATE;
      if (isFloat && given && !has(leaf.name())) {
        double mean = leaf.role() == Role.PARAMETER && leaf.type().rank() == 1 ? 1 : 0;
        set(leaf.name(), normal(leaf, random, mean, deviation));
      }
    }
    return this;
  }

  /** Gives every gradient buffer something to be added to. */
  public Values fillGradients(Graph graph, Random random) {
    for (Tensor leaf : graph.leaves(Role.GRADIENT)) {
      set(leaf.name(), normal(leaf, random, 0, 1));
    }
    return this;
  }

  private static double[] normal(Tensor leaf, Random random, double mean, double deviation) {
    double[] value = new double[Math.toIntExact(leaf.type().elements())];
    Arrays.setAll(value, i -> round(mean + deviation * random.nextGaussian(), leaf.type().dtype()));
    return value;
  }

  /** Rounded to the nearest value of a float dtype. */
  static double round(double value, DType dtype) {
    return dtype == DType.BF16 ? Float.intBitsToFloat(bfloat16(value) << 16) : (float) value;
  }

  /** The bits of a bfloat16, rounded to nearest, ties to even. */
  static int bfloat16(double value) {
    int bits = Float.floatToRawIntBits((float) value);
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
}
