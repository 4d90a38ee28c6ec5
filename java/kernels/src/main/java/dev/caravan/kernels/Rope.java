package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_rope_args;

/** Rotary positions. Source: Su et al. 2021, arXiv 2104.09864, eq. 34. */
public final class Rope {
  /** Which elements of a head turn together. */
  public enum Layout {
    /** Pairs (i, i + n/2), as Hugging Face checkpoints have them. */
    HALF(Caravan.CARAVAN_ROPE_HALF),
    /** Pairs (2i, 2i + 1), as the paper has them. */
    INTERLEAVED(Caravan.CARAVAN_ROPE_INTERLEAVED);

    private final int code;

    Layout(int code) {
      this.code = code;
    }
  }

  private Rope() {}

  /**
   * Turns the first n elements of every head by the angle of its position; the others are copied.
   *
   * @param x float [T, H, N]
   * @param y float [T, H, N] =, may be {@code x}
   * @param positions i32 [T], each below P
   * @param cos f32 [P, n/2]
   * @param sin f32 [P, n/2]
   */
  public static KernelCall forward(
      TensorRef x, TensorRef y, TensorRef positions, TensorRef cos, TensorRef sin, Layout layout) {
    caravan_rope_args args = fill(x, y, positions, cos, sin, layout);
    return KernelCall.of(
        "rope_forward", args, stream -> Caravan.caravan_rope_forward(stream, args));
  }

  /** Turns back: from the gradient of y, {@code dY}, to that of x, {@code dX} (may be dY). */
  public static KernelCall backward(
      TensorRef dY,
      TensorRef dX,
      TensorRef positions,
      TensorRef cos,
      TensorRef sin,
      Layout layout) {
    caravan_rope_args args = fill(dY, dX, positions, cos, sin, layout);
    return KernelCall.of(
        "rope_backward", args, stream -> Caravan.caravan_rope_backward(stream, args));
  }

  private static caravan_rope_args fill(
      TensorRef x, TensorRef y, TensorRef positions, TensorRef cos, TensorRef sin, Layout layout) {
    caravan_rope_args args = zeroed(new caravan_rope_args());
    set(args.x(), x);
    set(args.y(), y);
    set(args.positions(), positions);
    set(args.cos(), cos);
    set(args.sin(), sin);
    return args.layout(layout.code);
  }
}
