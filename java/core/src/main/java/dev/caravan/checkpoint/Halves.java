package dev.caravan.checkpoint;

/** Conversions between the 16-bit float formats and the bits of float32. */
final class Halves {
  private Halves() {}

  /** The float32 bits of an IEEE binary16 value; exact, subnormals, infinities and NaN included. */
  static int fromFloat16(short half) {
    int sign = (half & 0x8000) << 16;
    int exponent = (half >> 10) & 0x1f;
    int fraction = half & 0x3ff;
    if (exponent == 0x1f) {
      return sign | 0x7f80_0000 | fraction << 13;
    }
    if (exponent != 0) {
      return sign | (exponent + 112) << 23 | fraction << 13;
    }
    // A subnormal is fraction x 2^-24, which float32 holds as a normal number.
    return sign | Float.floatToRawIntBits(fraction * 0x1p-24f);
  }

  /** The bfloat16 nearest to finite float32 bits; ties go to the even one. */
  static short toBfloat16(int bits) {
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }
}
