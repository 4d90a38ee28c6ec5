package dev.caravan.ops;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Product;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Matrix product {@code c = op(a) op(b) (+ c)}, sums in float32. Inputs: a, b, then rows (i32 [1]) when
 * limited, then c when accumulating.
 *
 * @param transposeA a is stored [K, M] rather than [M, K]
 * @param transposeB b is stored [N, K] rather than [K, N]
 * @param limited only the leading rows, as many as the input {@code rows} says, are in use: of a and c,
 *     or with transposeA of a and b. The others are padding: finite, and zero in every gradient, since no
 *     target stands there. So it changes no result whether a product leaves them out or computes them
 * @param accumulate adds to the last input, in place
 * @param out dtype of c
 */
public record MatMul(
    boolean transposeA, boolean transposeB, boolean limited, boolean accumulate, DType out)
    implements Op {
  /** A linear layer {@code y = x W^T}, W [N, K] as checkpoints store it, y of x's dtype. */
  public static MatMul linear(boolean limited, DType out) {
    return new MatMul(false, true, limited, false, out);
  }

  @Override
  public String name() {
    return "matmul";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("a", in.get(0), Shapes.ANY, Shapes.ANY);
    Shapes.need("b", in.get(1), Shapes.ANY, Shapes.ANY);
    long m = in.get(0).dim(transposeA ? 1 : 0);
    long k = in.get(0).dim(transposeA ? 0 : 1);
    long n = in.get(1).dim(transposeB ? 0 : 1);
    Shapes.need("b", in.get(1), transposeB ? n : k, transposeB ? k : n);
    if (limited) {
      Shapes.need("rows", in.get(2), 1);
    }
    if (accumulate) {
      Shapes.need("c", in.get(sum()), m, n);
    }
    return List.of(new TensorType(out, m, n));
  }

  /** Source: with y = x W^T, dx = dy W and dW = dy^T x. */
  @Override
  public void backward(Node node, Gradients gradients) {
    if (transposeA || !transposeB || accumulate) {
      throw new UnsupportedOperationException("matmul: only a linear layer has a gradient");
    }
    Tensor x = node.in(0);
    Tensor w = node.in(1);
    Tensor d = gradients.of(node.out(0));
    product(gradients, x, false, node, d, w);
    product(gradients, w, true, node, d, x);
  }

  private void product(
      Gradients gradients, Tensor to, boolean transpose, Node node, Tensor a, Tensor b) {
    if (!gradients.wanted(to)) {
      return;
    }
    Tensor sum = gradients.owned(to);
    MatMul op =
        new MatMul(
            transpose, false, limited, sum != null, sum != null ? sum.type().dtype() : to.type().dtype());
    Tensor[] inputs = new Tensor[2 + (limited ? 1 : 0) + (sum != null ? 1 : 0)];
    inputs[0] = a;
    inputs[1] = b;
    if (limited) {
      inputs[2] = node.in(2);
    }
    if (sum != null) {
      inputs[op.sum()] = sum;
    }
    Tensor made = gradients.emit(op, inputs).get(0);
    if (sum != null) {
      gradients.set(to, made);
    } else {
      gradients.add(to, made);
    }
  }

  private int sum() {
    return limited ? 3 : 2;
  }

  @Override
  public int inPlace(int output) {
    return accumulate ? sum() : NO_ALIAS;
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            new Product(
                memory.ref(node.in(0)),
                transposeA,
                memory.ref(node.in(1)),
                transposeB,
                memory.ref(node.out(0)),
                limited ? memory.ref(node.in(2)) : null,
                1,
                accumulate ? 1 : 0)));
  }

  @Override
  public long flops(Node node) {
    return 2 * node.in(0).type().elements() * node.out(0).dim(1);
  }
}
