package dev.caravan.checkpoint;

import java.util.Locale;

/**
 * An element type as a safetensors file stores it. It is wider than the types that kernels compute
 * on, because files also hold float16 weights and raw moments.
 *
 * <p>Source of the names: the safetensors format description, field {@code dtype}.
 */
public enum StoredType {
  F64(8),
  F32(4),
  F16(2),
  BF16(2),
  I64(8),
  I32(4),
  U16(2),
  U8(1);

  private final int bytes;

  StoredType(int bytes) {
    this.bytes = bytes;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }

  /** True for the types that hold real numbers and can be read as float32. */
  public boolean isFloat() {
    return this == F64 || this == F32 || this == F16 || this == BF16;
  }

  /** The name that transformers' config.json uses, for example {@code bfloat16}. */
  public String torchName() {
    return switch (this) {
      case F64 -> "float64";
      case F32 -> "float32";
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      case I64, I32 -> "int" + bytes * 8;
      case U16, U8 -> "uint" + bytes * 8;
    };
  }

  /** The type of that safetensors name, or null where Caravan does not read it. */
  static StoredType named(String name) {
    for (StoredType type : values()) {
      if (type.name().equals(name.toUpperCase(Locale.ROOT))) {
        return type;
      }
    }
    return null;
  }
}
