package dev.caravan.kernels;

import dev.caravan.kernels.abi.Caravan;

/** Element types of tensors, as {@code caravan_dtype} numbers them. */
public enum DType {
  F32(Caravan.CARAVAN_F32, 4),
  /** The upper half of a float32. */
  BF16(Caravan.CARAVAN_BF16, 2),
  I32(Caravan.CARAVAN_I32, 4),
  I64(Caravan.CARAVAN_I64, 8),
  F64(Caravan.CARAVAN_F64, 8),
  U8(Caravan.CARAVAN_U8, 1),
  U16(Caravan.CARAVAN_U16, 2);

  private final int code;
  private final int bytes;

  DType(int code, int bytes) {
    this.code = code;
    this.bytes = bytes;
  }

  /** The value of {@code caravan_dtype}. */
  public int code() {
    return code;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }
}
