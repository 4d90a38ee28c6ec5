package dev.caravan.kernels;

import dev.caravan.kernels.abi.caravan_tensor;
import java.util.function.LongToIntFunction;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * One call of an op, prepared: its arguments lie in native memory, so that running it allocates
 * nothing. The memory that its tensors view must outlive it.
 */
public final class KernelCall implements AutoCloseable {
  /** Asks how large a workspace a call needs: a {@code caravan_<op>_workspace} function. */
  @FunctionalInterface
  interface WorkspaceQuery {
    /** Writes the bytes to an address; returns a status. */
    int ask(int kind, long bytesAddress);
  }

  private final String op;
  private final Pointer args;
  private final LongToIntFunction launch;
  private final caravan_tensor workspace;
  private final WorkspaceQuery query;
  private boolean closed;

  private KernelCall(
      String op,
      Pointer args,
      LongToIntFunction launch,
      caravan_tensor workspace,
      WorkspaceQuery query) {
    this.op = op;
    this.args = args;
    this.launch = launch;
    this.workspace = workspace;
    this.query = query;
  }

  /** A call without a workspace; {@code launch} takes the stream's handle, returns a status. */
  static KernelCall of(String op, Pointer args, LongToIntFunction launch) {
    return new KernelCall(op, args, launch, null, null);
  }

  /** A call with the given workspace field. */
  static KernelCall of(
      String op,
      Pointer args,
      LongToIntFunction launch,
      caravan_tensor workspace,
      WorkspaceQuery query) {
    return new KernelCall(op, args, launch, workspace, query);
  }

  /** A new args struct of which all is zero but its size, which is its first field. */
  static <A extends Pointer> A zeroed(A args) {
    Pointer.memset(args, 0, args.sizeof());
    new LongPointer(args).put(args.sizeof());
    return args;
  }

  /** Fills a tensor field; null leaves it absent. */
  static void set(caravan_tensor field, TensorRef tensor) {
    if (tensor != null) {
      tensor.into(field);
    }
  }

  /** The op's name in the ABI without its prefix, as in "rmsnorm_forward". */
  public String op() {
    return op;
  }

  /**
   * How large a workspace it needs on a kind of device, in bytes; often 0.
   *
   * @throws KernelException if the arguments are refused
   */
  public long workspaceBytes(Device.Kind kind) {
    if (query == null) {
      return 0;
    }
    requireOpen();
    try (LongPointer bytes = new LongPointer(1)) {
      Native.check(query.ask(kind.code(), bytes.address()));
      return bytes.get();
    }
  }

  /**
   * Gives it its workspace, {@code bytes} at {@code address}; other calls of the same stream may
   * use the same memory.
   *
   * @return this
   */
  public KernelCall workspace(long address, long bytes) {
    requireOpen();
    if (workspace != null) {
      TensorRef.of(address, DType.U8, bytes).into(workspace);
    }
    return this;
  }

  /**
   * Gives the op to a stream. No object is made, unless it fails.
   *
   * @throws KernelException with the op, the argument, what it got and what it needs
   */
  public void run(Stream stream) {
    requireOpen();
    CallWatch watch = stream.watch();
    if (watch != null) {
      watch.before(this);
    }
    int status = launch.applyAsInt(stream.handle());
    if (status != 0) {
      Native.check(status);
    }
    if (watch != null) {
      watch.after(this);
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException(op + ": this call was closed");
    }
  }

  /** Frees the arguments. Closing twice does nothing more. */
  @Override
  public void close() {
    closed = true;
    args.close();
  }

  @Override
  public String toString() {
    return op;
  }
}
