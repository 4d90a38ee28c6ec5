package dev.caravan.data.cache;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Objects;
import java.util.zip.CRC32C;

/**
 * Writes a cached file record by record, beside its place; {@link #finish} puts it there. The index
 * grows in a file of its own, so that the heap holds a buffer, whatever the number of records.
 *
 * <p>A disk that does not take it is an {@link UncheckedIOException}. Not safe for several threads.
 */
public final class CacheWriter implements AutoCloseable {
  /** Opens a file to write to; tests put a full disk here. */
  @FunctionalInterface
  interface Opener {
    FileChannel open(Path file) throws IOException;

    Opener FILES =
        file ->
            FileChannel.open(
                file,
                StandardOpenOption.READ,
                StandardOpenOption.WRITE,
                StandardOpenOption.CREATE_NEW);
  }

  static final String UNFINISHED = ".unfinished";

  private static final int BUFFER_BYTES = 1 << 18;

  private final Path place;
  private final Path aside;
  private final Path indexAside;
  private final int entryBytes;
  private final ByteBuffer buffer = little(BUFFER_BYTES);
  private final ByteBuffer entries;
  private final CRC32C sum = new CRC32C();
  private FileChannel out;
  private FileChannel index;
  private int[] sums = new int[16];
  private int blocks;
  private int inBlock;
  private long written;
  private long records;
  private byte[] meta = {};

  /**
   * Begins a file.
   *
   * @param place where it will be
   * @param key that a reader must ask for, [32]
   * @param entryBytes of an index entry, a multiple of 4
   */
  CacheWriter(Path place, byte[] key, int entryBytes, Opener opener) {
    this.place = place;
    this.entryBytes = entryBytes;
    String name = place.getFileName() + "." + ProcessHandle.current().pid() + "." + System.nanoTime();
    aside = place.resolveSibling(name + UNFINISHED);
    indexAside = place.resolveSibling(name + ".index" + UNFINISHED);
    entries = little(BUFFER_BYTES / entryBytes * entryBytes);
    try {
      out = opener.open(aside);
      index = opener.open(indexAside);
    } catch (IOException e) {
      close();
      throw new UncheckedIOException(e);
    }
    buffer.putLong(Layout.MAGIC).putInt(Layout.VERSION).putInt(entryBytes).put(key);
    buffer.position(Layout.HEADER_BYTES);
  }

  /** Where the next byte of data goes. */
  public long position() {
    return written + buffer.position();
  }

  /** The records that are begun. */
  public long records() {
    return records;
  }

  /** Adds bytes of data. */
  public void put(byte[] bytes, int offset, int count) {
    int from = offset;
    for (int left = count; left > 0; ) {
      room(1);
      int now = Math.min(left, buffer.remaining());
      buffer.put(bytes, from, now);
      from += now;
      left -= now;
    }
  }

  /** Adds a byte of data. */
  public void putByte(int value) {
    room(Byte.BYTES);
    buffer.put((byte) value);
  }

  /** Adds two bytes of data. */
  public void putShort(int value) {
    room(Short.BYTES);
    buffer.putShort((short) value);
  }

  /** Adds four bytes of data. */
  public void putInt(int value) {
    room(Integer.BYTES);
    buffer.putInt(value);
  }

  /** Adds zeros up to where a record may begin. */
  public void align() {
    while (position() % Layout.ALIGNMENT != 0) {
      putByte(0);
    }
  }

  /**
   * Begins the index entry of one more record, which the caller fills to its end.
   *
   * @return a buffer with room for it, little-endian
   */
  public ByteBuffer entry() {
    if (entries.remaining() < entryBytes) {
      write(index, entries);
    }
    records++;
    return entries;
  }

  /** What {@link CacheFile#meta} will give. */
  public void meta(byte[] bytes) {
    meta = Objects.requireNonNull(bytes, "meta");
  }

  /**
   * Puts the file in its place: renamed, and flushed to the disk before if it is to be durable. One that is
   * not may be broken after the machine has lost its power, which its sums then tell.
   */
  void finish(boolean durable) {
    try {
      align();
      long dataEnd = position();
      write(index, entries);
      if (index.position() != records * entryBytes) {
        throw new IllegalStateException(
            "%d records have %d index bytes, need %d each"
                .formatted(records, index.position(), entryBytes));
      }
      copyIndex();
      put(meta, 0, meta.length);
      flush();
      if (inBlock > 0) {
        endBlock();
      }
      writeTrailer(dataEnd);
      if (durable) {
        out.force(true);
      }
      out.close();
      Files.move(aside, place, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      if (durable) {
        flushFolder();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void copyIndex() throws IOException {
    byte[] piece = new byte[BUFFER_BYTES];
    long left = index.position();
    index.position(0);
    while (left > 0) {
      int got = index.read(ByteBuffer.wrap(piece, 0, (int) Math.min(piece.length, left)));
      if (got < 0) {
        throw new IOException(indexAside + " has become shorter");
      }
      put(piece, 0, got);
      left -= got;
    }
  }

  private void writeTrailer(long dataEnd) {
    ByteBuffer tail = little(blocks * Integer.BYTES + Layout.TRAILER_BYTES);
    for (int b = 0; b < blocks; b++) {
      tail.putInt(sums[b]);
    }
    tail.putLong(dataEnd).putLong(records).putLong(meta.length);
    tail.putLong(written + tail.capacity()).putInt(0);
    CRC32C own = new CRC32C();
    own.update(tail.array(), 0, tail.position());
    tail.putInt((int) own.getValue());
    write(out, tail);
  }

  private void room(int bytes) {
    if (buffer.remaining() < bytes) {
      flush();
    }
  }

  private void flush() {
    for (int from = 0; from < buffer.position(); ) {
      int now = Math.min(buffer.position() - from, Layout.BLOCK_BYTES - inBlock);
      sum.update(buffer.array(), from, now);
      inBlock += now;
      from += now;
      if (inBlock == Layout.BLOCK_BYTES) {
        endBlock();
      }
    }
    written += buffer.position();
    write(out, buffer);
  }

  private void endBlock() {
    if (blocks == sums.length) {
      sums = Arrays.copyOf(sums, 2 * blocks);
    }
    sums[blocks++] = (int) sum.getValue();
    sum.reset();
    inBlock = 0;
  }

  private static void write(FileChannel channel, ByteBuffer full) {
    full.flip();
    try {
      while (full.hasRemaining()) {
        channel.write(full);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    full.clear();
  }

  private void flushFolder() throws IOException {
    try (FileChannel folder = FileChannel.open(place.getParent(), StandardOpenOption.READ)) {
      folder.force(true);
    }
  }

  private static ByteBuffer little(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Removes what is not finished. */
  @Override
  public void close() {
    closeQuietly(out);
    closeQuietly(index);
    deleteQuietly(aside);
    deleteQuietly(indexAside);
  }

  private static void closeQuietly(FileChannel channel) {
    try {
      if (channel != null) {
        channel.close();
      }
    } catch (IOException e) {
      // What was written is worthless without a successful finish.
    }
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // A leftover is removed when its folder is next cleaned.
    }
  }
}
