package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_adamw_args;
import dev.caravan.kernels.abi.caravan_segment;
import java.nio.ByteBuffer;
import java.util.List;
import org.bytedeco.javacpp.Loader;

/**
 * AdamW with decoupled weight decay, over a flat buffer. Source: Loshchilov and Hutter 2019, arXiv
 * 1711.05101, algorithm 2.
 */
public final class Adamw {
  /**
   * A run of the flat buffer: one tensor.
   *
   * @param offset first element
   * @param count elements
   * @param decay factor on the weight decay: 1 or 0
   */
  public record Segment(long offset, long count, float decay) {}

  private Adamw() {}

  /** Bytes of a table of that many segments. */
  public static long segmentBytes(int segments) {
    Native.load();
    return (long) segments * Loader.sizeof(caravan_segment.class);
  }

  /** Writes the table, in native byte order, at the buffer's position. */
  public static void putSegments(ByteBuffer table, List<Segment> segments) {
    for (Segment segment : segments) {
      table.putLong(segment.offset).putLong(segment.count).putFloat(segment.decay).putInt(0);
    }
  }

  /**
   * One step; nothing happens when the state's finite is 0.
   *
   * @param param f32 or bf16 [n], inout
   * @param remainder u16 [n], inout, needed with a bf16 param: together they are a float32 master
   * @param grad float [n], before clipping
   * @param m float [n], inout: first moment
   * @param v float [n], inout: second moment
   * @param segments u8: a table as {@link #putSegments} writes it, of what is to be updated
   * @param state of the step, see {@link StepState#ref}: step, lr, clip_factor, finite
   */
  public static KernelCall step(
      TensorRef param,
      TensorRef remainder,
      TensorRef grad,
      TensorRef m,
      TensorRef v,
      TensorRef segments,
      TensorRef state,
      float beta1,
      float beta2,
      float eps,
      float weightDecay) {
    caravan_adamw_args args = zeroed(new caravan_adamw_args());
    set(args.param(), param);
    set(args.remainder(), remainder);
    set(args.grad(), grad);
    set(args.m(), m);
    set(args.v(), v);
    set(args.segments(), segments);
    set(args.state(), state);
    args.beta1(beta1).beta2(beta2).eps(eps).weight_decay(weightDecay);
    return KernelCall.of("adamw_step", args, stream -> Caravan.caravan_adamw_step(stream, args));
  }
}
