package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;

/** A point in the work of a stream. */
public final class Event implements AutoCloseable {
  private long handle;

  private Event(long handle) {
    this.handle = handle;
  }

  /** Makes an event of a device, not yet recorded. */
  public static Event open(Device device) {
    Native.load();
    try (LongPointer handle = new LongPointer(1)) {
      Native.check(
          Caravan.caravan_event_create(device.kind().code(), device.index(), handle.address()));
      return new Event(handle.get());
    }
  }

  /** The native handle, a {@code caravan_event}. */
  long handle() {
    if (handle == 0) {
      throw new IllegalStateException("this event was closed");
    }
    return handle;
  }

  /** Puts the event behind all work that the stream was given so far. */
  public void record(Stream stream) {
    Native.check(Caravan.caravan_event_record(handle(), stream.handle()));
  }

  /** Milliseconds from this event to a later one; both must have happened. */
  public float millisecondsTo(Event later) {
    try (FloatPointer milliseconds = new FloatPointer(1)) {
      Native.check(Caravan.caravan_event_elapsed(handle(), later.handle(), milliseconds.address()));
      return milliseconds.get();
    }
  }

  /** Forgets the event. Closing twice does nothing more. */
  @Override
  public void close() {
    if (handle != 0) {
      long closed = handle;
      handle = 0;
      Native.check(Caravan.caravan_event_destroy(closed));
    }
  }
}
