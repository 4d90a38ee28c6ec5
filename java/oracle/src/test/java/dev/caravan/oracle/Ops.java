package dev.caravan.oracle;

import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Caravan's ops on PyTorch's memory.
 *
 * <p>A reference is only an address, so the tensors behind the references are kept from the garbage
 * collector until the call that they were made for has run.
 */
final class Ops {
  /** On the CPU, with two threads, so that work is really divided. */
  static final Stream STREAM = open();

  private static final List<Tensor> KEPT = new ArrayList<>();

  private Ops() {}

  private static Stream open() {
    Blas.install();
    torch.set_num_threads(1);
    return Stream.open(Device.CPU, 2);
  }

  /** A tensor's memory as an op takes it; of rank 1 where the tensor has none, null for null. */
  static TensorRef ref(Tensor tensor) {
    if (tensor == null) {
      return null;
    }
    Tensor t = tensor.dim() == 0 ? tensor.view(1) : tensor;
    KEPT.add(t);
    int rank = (int) t.dim();
    long[] shape = new long[rank];
    long[] stride = new long[rank];
    long last = 0;
    for (int i = 0; i < rank; i++) {
      shape[i] = t.size(i);
      stride[i] = t.stride(i);
      last += (shape[i] - 1) * stride[i];
    }
    long bytes = t.numel() == 0 ? 0 : (last + 1) * t.element_size();
    return new TensorRef(t.data_ptr().address(), bytes, dtype(t), shape, stride);
  }

  /** Runs a call with a workspace of exactly the bytes that it asks for, full of NaN. */
  static void run(KernelCall call) {
    try (call) {
      long bytes = call.workspaceBytes(Device.Kind.CPU);
      if (bytes > 0) {
        TensorRef workspace = ref(bytes(bytes, 255));
        call.workspace(workspace.address(), bytes);
      }
      call.run(STREAM);
    } finally {
      KEPT.clear();
    }
  }

  /** A step state in memory that is never freed before the tests end. */
  static StepState stepState() {
    Tensor memory = bytes(StepState.bytes(), 0);
    STATES.add(memory);
    return new StepState(
        TensorRef.of(memory.data_ptr().address(), DType.U8, StepState.bytes()), Device.CPU);
  }

  private static final List<Tensor> STATES = new ArrayList<>();

  /** Bytes of 255 are NaN in every float type. */
  static Tensor bytes(long count, int value) {
    long[] shape = {count};
    return torch.full(shape, Torch.number(value), new TensorOptions(ScalarType.Byte));
  }

  private static DType dtype(Tensor tensor) {
    return switch (Torch.type(tensor)) {
      case Float -> DType.F32;
      case BFloat16 -> DType.BF16;
      case Int -> DType.I32;
      case UInt16 -> DType.U16;
      case Byte -> DType.U8;
      default -> throw new IllegalArgumentException("no dtype for " + Torch.type(tensor));
    };
  }
}
