package dev.caravan.ops;

import dev.caravan.kernels.Elementwise;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * The whole gradients of a bucket for as long as a micro-batch adds to them; what a rank keeps is its
 * part of their sum over ranks and micro-batches.
 */
public final class GradientWindow {
  private GradientWindow() {}

  /** Begins it, with zeros. Inputs: the gradients. Outputs: their memory. */
  public record Open() implements Op {
    @Override
    public String name() {
      return "open_gradients";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return in.stream().map(Tensor::type).toList();
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      TensorRef all = memory.bucket(node.in(0));
      return List.of(stream -> stream.fill(all.address(), 0, all.bytes()));
    }

    @Override
    public int inPlace(int output) {
      return output;
    }

    @Override
    public boolean opensWindow() {
      return true;
    }

    @Override
    public boolean exchanges() {
      return true;
    }
  }

  /**
   * Adds the rank's part to what it keeps, and ends it. Inputs: the gradients, their {@link
   * ReduceScatter} waited for. Outputs: their memory.
   */
  public record Close() implements Op {
    @Override
    public String name() {
      return "keep_gradients";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return in.stream().map(Tensor::type).toList();
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      TensorRef kept = memory.kept(node.in(0));
      return List.of(
          memory.launch(Elementwise.add(kept, memory.part(node.in(0)), kept)));
    }

    @Override
    public int inPlace(int output) {
      return output;
    }

    @Override
    public boolean exchanges() {
      return true;
    }
  }
}
