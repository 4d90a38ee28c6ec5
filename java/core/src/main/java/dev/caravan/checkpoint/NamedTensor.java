package dev.caravan.checkpoint;

import java.util.List;

/**
 * A tensor in native memory, of the host or of a device, under the name that it has in a file. The
 * memory belongs to the caller and must stay valid while the tensor is written or filled.
 *
 * @param name name in the file
 * @param address first byte of contiguous row-major elements
 * @param bytes length; must be the number of elements times the bytes of one
 * @param type element type in memory
 * @param shape row-major extents; empty for a scalar
 * @param access how its bytes are reached
 */
public record NamedTensor(
    String name,
    long address,
    long bytes,
    StoredType type,
    List<Long> shape,
    TensorAccess access) {

  /** A tensor in host memory. */
  public NamedTensor(String name, long address, long bytes, StoredType type, List<Long> shape) {
    this(name, address, bytes, type, shape, TensorAccess.HOST);
  }

  /**
   * Checks that shape, type and bytes agree.
   *
   * @throws IllegalArgumentException if they do not, or if bytes are claimed at address 0
   */
  public NamedTensor {
    shape = List.copyOf(shape);
    long expected = Shapes.bytes(shape, type);
    if (expected != bytes) {
      throw new IllegalArgumentException(
          name + ": got " + bytes + " bytes, " + type + shape + " needs " + expected);
    }
    if (address == 0 && bytes > 0) {
      throw new IllegalArgumentException(name + ": address is 0");
    }
  }
}
