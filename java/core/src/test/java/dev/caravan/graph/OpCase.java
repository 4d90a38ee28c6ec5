package dev.caravan.graph;

import dev.caravan.kernels.DType;
import dev.caravan.ops.Op;
import dev.caravan.ops.Probes;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * A small graph around an op: weights go in, a loss comes out, so that everything that flows back
 * through the op can be seen in gradient buffers.
 *
 * @param name what is special about it
 * @param graph the forward graph, ending with its loss
 * @param values of all leaves
 * @param outputs what the op makes
 */
record OpCase(String name, Graph graph, Values values, List<Tensor> outputs) {
  @Override
  public String toString() {
    return name;
  }

  /** Writes one case. */
  static final class Builder {
    private final Graph graph = new Graph();
    private final Values values = new Values();
    private final DType storage;
    private final Random random;

    /**
     * @param storage dtype of weights and activations
     * @param seed of all values
     */
    Builder(DType storage, long seed) {
      this.storage = storage;
      random = new Random(seed);
    }

    DType storage() {
      return storage;
    }

    Graph graph() {
      return graph;
    }

    Values values() {
      return values;
    }

    /** A weight. */
    Tensor weight(String name, long... shape) {
      return graph.leaf(name, new TensorType(storage, shape), Role.PARAMETER);
    }

    /** A weight that has become an activation. */
    Tensor activation(String name, long... shape) {
      return graph.one(new Probes.Load(), weight(name, shape));
    }

    /** A constant, which is float32 whatever the storage. */
    Tensor constant(String name, long... shape) {
      return graph.leaf(name, TensorType.f32(shape), Role.CONSTANT);
    }

    /** Integers. */
    Tensor ints(String name, int... value) {
      values.set(name, value);
      return graph.leaf(name, TensorType.i32(value.length), Role.INPUT);
    }

    /** A node with one output. */
    Tensor one(Op op, Tensor... inputs) {
      return graph.one(op, inputs);
    }

    /** A node of which only the first output is of use. */
    Tensor first(Op op, Tensor... inputs) {
      return graph.emit(op, inputs).get(0);
    }

    /** A loss of these outputs: their product with random factors. */
    OpCase loss(String name, Tensor... outputs) {
      return loss(name, Long.MAX_VALUE, outputs);
    }

    /** The same; only leading rows count, the others are padding that no gradient comes from. */
    OpCase loss(String name, long rows, Tensor... outputs) {
      List<Tensor> inputs = new ArrayList<>();
      for (Tensor output : outputs) {
        String factors = "factors." + inputs.size() / 2;
        Tensor leaf = graph.leaf(factors, output.type(), Role.CONSTANT);
        values.fillRandom(graph, random, 1);
        double[] factor = values.get(factors);
        long row = output.type().elements() / output.dim(0);
        for (long i = rows; i < output.dim(0); i++) {
          Arrays.fill(factor, (int) (i * row), (int) ((i + 1) * row), 0);
        }
        inputs.add(output);
        inputs.add(leaf);
      }
      graph.one(new Probes.Dot(), inputs.toArray(Tensor[]::new));
      return new OpCase(name, graph, values, List.of(outputs));
    }

    /** A graph that ends with a loss of its own. */
    OpCase complete(String name) {
      values.fillRandom(graph, random, 1);
      return new OpCase(name, graph, values, List.of());
    }
  }
}
