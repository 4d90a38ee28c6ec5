package dev.caravan.ops;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Elementwise;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/** Ops of tests: they make a loss of any op's outputs, and gradients for any op's inputs. */
public final class Probes {
  private Probes() {}

  /** {@code out = x}: makes of a weight an activation like any other. Input: x. */
  public record Load() implements Op {
    @Override
    public String name() {
      return "load";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(0).type());
    }

    @Override
    public void backward(Node node, Gradients gradients) {
      Tensor x = node.in(0);
      Tensor d = gradients.of(node.out(0));
      gradients.set(x, gradients.emit(new Collect(), d, gradients.owned(x)).get(0));
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      long from = memory.ref(node.in(0)).address();
      long to = memory.ref(node.out(0)).address();
      long bytes = node.in(0).type().byteSize();
      return List.of(stream -> stream.copy(to, from, bytes));
    }
  }

  /** {@code sum += x}, sum in float32. Inputs: x, sum, added to in place. */
  public record Collect() implements Op {
    @Override
    public String name() {
      return "collect";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(1).type());
    }

    @Override
    public int inPlace(int output) {
      return 1;
    }

    @Override
    public List<TensorType> scratch(Node node) {
      return node.in(0).type().dtype() == DType.F32 ? List.of() : List.of(node.in(1).type());
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      var sum = memory.ref(node.in(1));
      var x = memory.ref(node.in(0));
      List<Launch> launches = new ArrayList<>();
      if (x.dtype() != DType.F32) {
        launches.add(memory.launch(Elementwise.cast(x, memory.scratch(0))));
        x = memory.scratch(0);
      }
      launches.add(memory.launch(Elementwise.add(sum, x, sum)));
      return launches;
    }
  }

  /**
   * A loss: {@code sum of x . factors} over pairs of tensors. Inputs: x, factors, x, factors, ...;
   * the gradient of each x is its factors. Runs in the reference only, since autodiff takes a loss
   * out.
   */
  public record Dot() implements Op {
    @Override
    public String name() {
      return "dot";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(TensorType.f32(1));
    }

    @Override
    public void backward(Node node, Gradients gradients) {
      for (int i = 0; i < node.inputs().size(); i += 2) {
        gradients.share(node.in(i), node.in(i + 1));
      }
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      throw new UnsupportedOperationException("dot has no kernel");
    }

    static double[][] value(Dot op, Node node, double[][] in) {
      double sum = 0;
      for (int i = 0; i < in.length; i += 2) {
        for (int j = 0; j < in[i].length; j++) {
          sum += in[i][j] * in[i + 1][j];
        }
      }
      return new double[][] {{sum}};
    }
  }
}
