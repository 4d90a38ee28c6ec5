package dev.caravan.data.cache;

/**
 * Where what lies in a cached file, little-endian throughout:
 *
 * <pre>
 *   header    magic (8), layout version (4), bytes of an index entry (4), key (32), zeros (16)
 *   data      records, one behind the other, each at a multiple of 4
 *   index     an entry of fixed size a record
 *   meta      anything, read whole
 *   sums      CRC-32C of each 16 MiB from the header on, 4 bytes each
 *   trailer   data end (8), records (8), meta bytes (8), file length (8), zeros (4), CRC-32C of sums
 *             and trailer (4)
 * </pre>
 */
final class Layout {
  static final long MAGIC = 0x31454843414356L; // "VCACHE1" and a zero
  static final int VERSION = 1;
  static final int HEADER_BYTES = 64;
  static final int KEY_AT = 16;
  static final int KEY_BYTES = 32;
  static final int TRAILER_BYTES = 40;
  static final int BLOCK_BYTES = 1 << 24;
  static final int ALIGNMENT = 4;

  private Layout() {}

  /** How many sums there are for so many bytes. */
  static long blocks(long bytes) {
    return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
  }
}
