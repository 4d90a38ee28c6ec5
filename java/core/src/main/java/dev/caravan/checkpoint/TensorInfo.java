package dev.caravan.checkpoint;

import java.nio.file.Path;
import java.util.List;

/**
 * Where one tensor lies in a safetensors file. Everything here has been checked against the file's
 * size when the file was opened.
 *
 * @param name the tensor's name in the file
 * @param type element type in the file
 * @param shape row-major extents; empty for a scalar
 * @param file the file that holds it
 * @param offset first byte, from the start of the file
 * @param bytes length, equal to the number of elements times the bytes of one
 */
public record TensorInfo(
    String name, StoredType type, List<Long> shape, Path file, long offset, long bytes) {

  /** Number of elements. */
  public long elements() {
    return bytes / type.bytes();
  }
}
