package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;

/**
 * A native call that failed. The message is the library's own: the op, the argument, what it got
 * and what it needs.
 */
public class KernelException extends RuntimeException {
  private KernelException(String message) {
    super(message);
  }

  /** A shape, dtype, range or address is not what the op needs. */
  public static final class InvalidArgument extends KernelException {
    private InvalidArgument(String message) {
      super(message);
    }
  }

  /** The device or the host has no such amount of memory left. */
  public static final class OutOfMemory extends KernelException {
    private OutOfMemory(String message) {
      super(message);
    }
  }

  /** Well-formed, but not built for this device or this processor. */
  public static final class Unsupported extends KernelException {
    private Unsupported(String message) {
      super(message);
    }
  }

  /** The device failed; nothing on it can be trusted any more. */
  public static final class DeviceLost extends KernelException {
    private DeviceLost(String message) {
      super(message);
    }
  }

  /** The same failure, its message led by where it happened. */
  public KernelException at(String where) {
    String message = where + ": " + getMessage();
    KernelException located =
        this instanceof InvalidArgument
            ? new InvalidArgument(message)
            : this instanceof OutOfMemory
                ? new OutOfMemory(message)
                : this instanceof Unsupported
                    ? new Unsupported(message)
                    : this instanceof DeviceLost
                        ? new DeviceLost(message)
                        : new KernelException(message);
    located.initCause(this);
    return located;
  }

  /** A shape, dtype or address that a vendor's library cannot take. */
  public static KernelException invalid(String message) {
    return new InvalidArgument(message);
  }

  /** Well-formed, but a vendor's library has it not. */
  public static KernelException unsupported(String message) {
    return new Unsupported(message);
  }

  /** A vendor's library failed. */
  public static KernelException lost(String message) {
    return new DeviceLost(message);
  }

  /** The exception of a {@code caravan_status} other than CARAVAN_OK. */
  static KernelException of(int status, String message) {
    switch (status) {
      case Caravan.CARAVAN_INVALID_ARGUMENT:
        return new InvalidArgument(message);
      case Caravan.CARAVAN_OUT_OF_MEMORY:
        return new OutOfMemory(message);
      case Caravan.CARAVAN_UNSUPPORTED:
        return new Unsupported(message);
      case Caravan.CARAVAN_DEVICE_LOST:
        return new DeviceLost(message);
      default:
        return new KernelException(message);
    }
  }
}
