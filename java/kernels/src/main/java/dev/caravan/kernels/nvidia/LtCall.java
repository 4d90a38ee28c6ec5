package dev.caravan.kernels.nvidia;

import static org.bytedeco.cuda.global.cublas.cublasLtMatmul;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.Stream;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/** One prepared product: a plan with addresses. */
final class LtCall extends KernelCall {
  private final cublasLtContext context;
  private final LtPlan plan;
  private final CublasLt.StreamHandle streams;
  private final Pointer a;
  private final Pointer b;
  private final Pointer c;
  private final FloatPointer factors;
  private final Pointer alpha;
  private final Pointer beta;
  private Pointer workspace;
  private long workspaceBytes;

  LtCall(
      cublasLtContext context, LtPlan plan, Product product, CublasLt.StreamHandle streams) {
    super("matmul_forward");
    this.context = context;
    this.plan = plan;
    this.streams = streams;
    a = new CublasLt.Address(product.a().address());
    b = new CublasLt.Address(product.b().address());
    c = new CublasLt.Address(product.c().address());
    factors = new FloatPointer(product.alpha(), product.beta());
    alpha = new CublasLt.Address(factors.address());
    beta = new CublasLt.Address(factors.address() + Float.BYTES);
  }

  @Override
  protected long askWorkspaceBytes(Device.Kind kind) {
    return kind == Device.Kind.CUDA ? Products.VENDOR_WORKSPACE_BYTES : 0;
  }

  @Override
  protected void setWorkspace(long address, long bytes) {
    workspace = new CublasLt.Address(address);
    workspaceBytes = bytes;
  }

  @Override
  protected void launch(Stream stream) {
    CublasLt.check(
        "cublasLtMatmul",
        cublasLtMatmul(
            context,
            plan.operation,
            alpha,
            b,
            plan.first,
            a,
            plan.second,
            beta,
            c,
            plan.out,
            c,
            plan.out,
            plan.algorithm,
            workspace,
            workspaceBytes,
            streams.get(stream)));
  }

  @Override
  protected void release() {
    factors.close();
  }
}
