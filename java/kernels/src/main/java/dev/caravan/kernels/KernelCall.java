package dev.caravan.kernels;

import dev.caravan.kernels.abi.caravan_tensor;
import java.util.function.LongToIntFunction;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * One call of an op, prepared: its arguments lie in native memory, so that running it allocates
 * nothing. The memory that its tensors view must outlive it.
 */
public abstract class KernelCall implements AutoCloseable {
  /** Asks how large a workspace a call needs: a {@code caravan_<op>_workspace} function. */
  @FunctionalInterface
  interface WorkspaceQuery {
    /** Writes the bytes to an address; returns a status. */
    int ask(int kind, long bytesAddress);
  }

  private final String op;
  private boolean closed;

  /**
   * A call of some library.
   *
   * @param op the op's name, for errors
   */
  protected KernelCall(String op) {
    this.op = op;
  }

  /** A call without a workspace; {@code launch} takes the stream's handle, returns a status. */
  static KernelCall of(String op, Pointer args, LongToIntFunction launch) {
    return new OfAbi(op, args, launch, null, null);
  }

  /** A call with the given workspace field. */
  static KernelCall of(
      String op,
      Pointer args,
      LongToIntFunction launch,
      caravan_tensor workspace,
      WorkspaceQuery query) {
    return new OfAbi(op, args, launch, workspace, query);
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
  public final String op() {
    return op;
  }

  /**
   * How large a workspace it needs on a kind of device, in bytes; often 0.
   *
   * @throws KernelException if the arguments are refused
   */
  public final long workspaceBytes(Device.Kind kind) {
    requireOpen();
    return askWorkspaceBytes(kind);
  }

  /** See {@link #workspaceBytes}. */
  protected abstract long askWorkspaceBytes(Device.Kind kind);

  /**
   * Gives it its workspace, {@code bytes} at {@code address}; other calls of the same stream may
   * use the same memory.
   *
   * @return this
   */
  public final KernelCall workspace(long address, long bytes) {
    requireOpen();
    setWorkspace(address, bytes);
    return this;
  }

  /** See {@link #workspace}. */
  protected abstract void setWorkspace(long address, long bytes);

  /**
   * Gives the op to a stream. No object is made, unless it fails.
   *
   * @throws KernelException with the op, the argument, what it got and what it needs
   */
  public final void run(Stream stream) {
    requireOpen();
    CallWatch watch = stream.watch();
    if (watch != null) {
      watch.before(this);
    }
    launch(stream);
    if (watch != null) {
      watch.after(this);
    }
  }

  /** See {@link #run}. */
  protected abstract void launch(Stream stream);

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException(op + ": this call was closed");
    }
  }

  /** Frees the arguments. Closing twice does nothing more. */
  @Override
  public final void close() {
    if (!closed) {
      closed = true;
      release();
    }
  }

  /** Frees the arguments, once. */
  protected abstract void release();

  @Override
  public final String toString() {
    return op;
  }

  /** A call of a {@code caravan_<op>} function by its argument struct. */
  private static final class OfAbi extends KernelCall {
    private final Pointer args;
    private final LongToIntFunction function;
    private final caravan_tensor workspace;
    private final WorkspaceQuery query;

    OfAbi(
        String op,
        Pointer args,
        LongToIntFunction function,
        caravan_tensor workspace,
        WorkspaceQuery query) {
      super(op);
      this.args = args;
      this.function = function;
      this.workspace = workspace;
      this.query = query;
    }

    @Override
    protected long askWorkspaceBytes(Device.Kind kind) {
      if (query == null) {
        return 0;
      }
      try (LongPointer bytes = new LongPointer(1)) {
        Native.check(query.ask(kind.code(), bytes.address()));
        return bytes.get();
      }
    }

    @Override
    protected void setWorkspace(long address, long bytes) {
      if (workspace != null) {
        TensorRef.of(address, DType.U8, bytes).into(workspace);
      }
    }

    @Override
    protected void launch(Stream stream) {
      int status = function.applyAsInt(stream.handle());
      if (status != 0) {
        Native.check(status);
      }
    }

    @Override
    protected void release() {
      args.close();
    }
  }
}
