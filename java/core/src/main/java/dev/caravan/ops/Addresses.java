package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;

/** Addresses of tensors on one device, as the plan laid them out. */
public interface Addresses {
  /** The tensor's memory, as its own type. */
  TensorRef ref(Tensor tensor);

  /** The tensor's memory as a matrix: all axes but the last are rows. */
  default TensorRef rows(Tensor tensor) {
    TensorRef whole = ref(tensor);
    return TensorRef.of(
        whole.address(), whole.dtype(), tensor.type().rows(), tensor.dim(-1));
  }

  /** The tensor's memory as one row of all its elements. */
  default TensorRef row(Tensor tensor) {
    TensorRef whole = ref(tensor);
    return TensorRef.of(whole.address(), whole.dtype(), tensor.type().elements());
  }

  /** The {@code index}-th temporary of the node being bound; see {@link Op#scratch}. */
  TensorRef scratch(int index);

  /** The call as a launch, with the workspace that it needs; it lives as long as the bound graph. */
  Launch launch(KernelCall call);

  /** A matrix product as a launch, by whom the device has for it. */
  Launch launch(Product product);

  /**
   * The beginning of an exchange between ranks, which later work does not wait for.
   *
   * @param tag by which {@link #join} finds it; {@link Join#ALL} for none
   */
  Launch begin(Collective collective, int tag);

  /** The rank's place in its group of an axis, from 0; shapes may not depend on it. */
  int rank(Collective.Axis axis);

  /** Lets later work wait for the exchange of a tag and those begun before it, or for all. */
  Launch join(Collective.Axis axis, int tag);

  /** The whole bucket of a weight or a gradient, padding included, where it lies now. */
  TensorRef bucket(Tensor leaf);

  /** The rank's own part within {@link #bucket}. */
  TensorRef part(Tensor leaf);

  /** The rank's own part where it is kept, of weights or gradients that are kept in parts. */
  TensorRef kept(Tensor leaf);
}
