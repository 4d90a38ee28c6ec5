package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Add;
import dev.caravan.ops.Bias;
import dev.caravan.ops.Embedding;
import dev.caravan.ops.Glu;
import dev.caravan.ops.LinearCrossEntropy;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.RmsNorm;
import dev.caravan.ops.View;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;

/**
 * The words that model functions are written in: each adds one or two nodes to a graph. Shapes: T
 * tokens, D model width, H heads, N head width, F feed-forward width, V vocabulary.
 */
public final class Layers {
  private final Graph graph;
  private final DType storage;
  private final Tensor rows;

  /**
   * @param graph where the nodes go
   * @param storage dtype of weights and activations
   * @param rows how many leading token rows are in use, i32 [1]
   */
  public Layers(Graph graph, DType storage, Tensor rows) {
    this.graph = graph;
    this.storage = storage;
    this.rows = rows;
  }

  /** The graph being built. */
  public Graph graph() {
    return graph;
  }

  /** A weight under its checkpoint name. */
  public Tensor parameter(String name, long... shape) {
    return graph.leaf(name, new TensorType(storage, shape), Role.PARAMETER);
  }

  /** Rows of {@code table} [V, D] by id: [T, D]. */
  public Tensor embedding(Tensor ids, Tensor table) {
    return graph.one(new Embedding(), ids, table, rows);
  }

  /** {@code x W^T}: [T, in] by [out, in] to [T, out]. */
  public Tensor linear(Tensor x, Tensor weight) {
    return graph.one(MatMul.linear(true, storage), x, weight, rows);
  }

  /** {@code x W^T + b}; {@code bias} may be null. */
  public Tensor linear(Tensor x, Tensor weight, Tensor bias) {
    Tensor y = linear(x, weight);
    return bias == null ? y : graph.one(new Bias(), y, bias);
  }

  /** RMSNorm over the last axis. */
  public Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
    return graph.emit(new RmsNorm((float) eps, false), x, weight).get(0);
  }

  /** [T, H N] seen as [T, H, N]. */
  public Tensor heads(Tensor x, long heads) {
    return graph.one(View.as(x.dim(0), heads, x.dim(1) / heads), x);
  }

  /** [T, H, N] seen as [T, H N]. */
  public Tensor merge(Tensor x) {
    return graph.one(View.as(x.dim(0), x.dim(1) * x.dim(2)), x);
  }

  /** {@code silu(gate) * up}. */
  public Tensor swiglu(Tensor gate, Tensor up) {
    return graph.one(new Glu(Glu.Activation.SILU), gate, up);
  }

  /** {@code f(gate) * up}. */
  public Tensor gated(Glu.Activation f, Tensor gate, Tensor up) {
    return graph.one(new Glu(f), gate, up);
  }

  /** {@code a + b}. */
  public Tensor add(Tensor a, Tensor b) {
    return graph.one(new Add(), a, b);
  }

  /** Negative log-likelihood of each target, f32 [T] in the order of the targets. */
  public Tensor crossEntropy(Tensor hidden, Tensor weight, Inputs in, int chunk) {
    return graph.one(
        new LinearCrossEntropy(chunk),
        hidden,
        weight,
        in.targetRows(),
        in.targetIds(),
        in.targets(),
        in.state());
  }
}
