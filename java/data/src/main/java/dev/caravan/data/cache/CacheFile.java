package dev.caravan.data.cache;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Optional;
import java.util.stream.LongStream;
import java.util.zip.CRC32C;

/**
 * A cached file, mapped into memory. It was checked as a whole when it was opened: version, key,
 * lengths and sums. Reading is safe from several threads.
 *
 * <p>The map goes with the object, when the garbage collector takes it. Finished files are never
 * written again, only replaced, so a map keeps what it had.
 */
public final class CacheFile {
  /** Maps begin at multiples of it and are nearly twice as long, so that records may straddle. */
  private static final long STRIDE = 1L << 30;

  private final MappedByteBuffer[] maps;
  private final int entryBytes;
  private final long dataEnd;
  private final long records;
  private final long bytes;
  private final byte[] meta;

  private CacheFile(
      MappedByteBuffer[] maps,
      int entryBytes,
      long dataEnd,
      long records,
      long bytes,
      byte[] meta) {
    this.maps = maps;
    this.entryBytes = entryBytes;
    this.dataEnd = dataEnd;
    this.records = records;
    this.bytes = bytes;
    this.meta = meta;
  }

  /**
   * Opens a file and checks all of it.
   *
   * @param key that it must have been written with, [32]
   * @param entryBytes of an index entry
   * @return empty if it is not there, or is not exactly what was once written
   */
  static Optional<CacheFile> open(Path file, byte[] key, int entryBytes) {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      return open(channel, key, entryBytes);
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IOException | InternalError e) {
      // InternalError is how a map tells of a page that cannot be read.
      return Optional.empty();
    }
  }

  private static Optional<CacheFile> open(FileChannel channel, byte[] key, int entryBytes)
      throws IOException {
    long size = channel.size();
    if (size < Layout.HEADER_BYTES + Layout.TRAILER_BYTES) {
      return Optional.empty();
    }
    ByteBuffer header = read(channel, 0, Layout.HEADER_BYTES);
    byte[] its = new byte[Layout.KEY_BYTES];
    header.get(Layout.KEY_AT, its);
    if (header.getLong(0) != Layout.MAGIC
        || header.getInt(8) != Layout.VERSION
        || header.getInt(12) != entryBytes
        || !Arrays.equals(its, key)) {
      return Optional.empty();
    }
    ByteBuffer trailer = read(channel, size - Layout.TRAILER_BYTES, Layout.TRAILER_BYTES);
    long dataEnd = trailer.getLong(0);
    long records = trailer.getLong(8);
    long metaBytes = trailer.getLong(16);
    boolean sane =
        trailer.getLong(24) == size
            && dataEnd >= Layout.HEADER_BYTES
            && dataEnd <= size
            && records >= 0
            && records <= size / entryBytes
            && metaBytes >= 0
            && metaBytes <= size;
    long end = dataEnd + records * entryBytes + metaBytes;
    if (!sane || size != end + Layout.blocks(end) * Integer.BYTES + Layout.TRAILER_BYTES) {
      return Optional.empty();
    }
    int tailBytes = Math.toIntExact(size - end);
    ByteBuffer tail = read(channel, end, tailBytes);
    CRC32C own = new CRC32C();
    own.update(tail.array(), 0, tailBytes - Integer.BYTES);
    if ((int) own.getValue() != tail.getInt(tailBytes - Integer.BYTES)) {
      return Optional.empty();
    }
    MappedByteBuffer[] maps = map(channel, size);
    boolean whole =
        LongStream.range(0, Layout.blocks(end))
            .parallel()
            .allMatch(b -> sum(maps, b, end) == tail.getInt((int) b * Integer.BYTES));
    if (!whole) {
      return Optional.empty();
    }
    byte[] meta = read(channel, end - metaBytes, Math.toIntExact(metaBytes)).array();
    return Optional.of(new CacheFile(maps, entryBytes, dataEnd, records, size, meta));
  }

  private static MappedByteBuffer[] map(FileChannel channel, long size) throws IOException {
    MappedByteBuffer[] maps = new MappedByteBuffer[(int) ((size + STRIDE - 1) / STRIDE)];
    for (int i = 0; i < maps.length; i++) {
      long from = i * STRIDE;
      long length = Math.min(Integer.MAX_VALUE, size - from);
      maps[i] = channel.map(FileChannel.MapMode.READ_ONLY, from, length);
      maps[i].order(ByteOrder.LITTLE_ENDIAN);
    }
    return maps;
  }

  private static int sum(MappedByteBuffer[] maps, long block, long end) {
    long from = block * Layout.BLOCK_BYTES;
    int length = (int) Math.min(Layout.BLOCK_BYTES, end - from);
    CRC32C crc = new CRC32C();
    crc.update(maps[(int) (from / STRIDE)].slice((int) (from % STRIDE), length));
    return (int) crc.getValue();
  }

  private static ByteBuffer read(FileChannel channel, long from, int bytes) throws IOException {
    ByteBuffer into = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    while (into.hasRemaining()) {
      if (channel.read(into, from + into.position()) < 0) {
        throw new IOException("shorter than it was");
      }
    }
    return into.flip().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The number of records. */
  public long records() {
    return records;
  }

  /** The bytes of the file. */
  public long bytes() {
    return bytes;
  }

  /** What the writer said besides. */
  public byte[] meta() {
    return meta.clone();
  }

  /** The four bytes at {@code at} of the index entry of record {@code record}. */
  public int entryInt(long record, int at) {
    long place = entry(record) + at;
    return map(place).getInt(within(place));
  }

  /** The eight bytes at {@code at} of the index entry of record {@code record}. */
  public long entryLong(long record, int at) {
    long place = entry(record) + at;
    return map(place).getLong(within(place));
  }

  private long entry(long record) {
    if (record < 0 || record >= records) {
      throw new IndexOutOfBoundsException("record " + record + " of " + records);
    }
    return dataEnd + record * entryBytes;
  }

  /** A buffer, little-endian, in which the data from {@code place} on lies at {@link #within}. */
  public ByteBuffer map(long place) {
    return maps[(int) (place / STRIDE)];
  }

  /** Where {@code place} is in {@link #map}. */
  public static int within(long place) {
    return (int) (place % STRIDE);
  }
}
