package dev.caravan.data.source;

import dev.caravan.data.UserError;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Reads a UTF-8 file line by line and knows where it is: line number and byte offset, for errors.
 * Lines end with LF or CR LF; a byte order mark is skipped, one of UTF-16 refused; a file whose
 * name ends with .gz is unpacked on the way. One line is held at a time.
 */
public final class LineReader implements Closeable {
  private static final int LONGEST_LINE_BYTES = 1 << 30;

  private final Path file;
  private final InputStream in;
  private byte[] buffer = new byte[1 << 16];
  private int begin;
  private int end;
  private boolean atEnd;
  private long bufferOffset;
  private long line;
  private int lineBegin;
  private int lineEnd;
  private UserError failure;

  /**
   * Opens {@code file}.
   *
   * @throws UserError if it does not exist or cannot be read
   */
  public LineReader(Path file) {
    this.file = file;
    in = open(file);
    fill();
    boolean mark =
        end >= 3
            && buffer[0] == (byte) 0xEF
            && buffer[1] == (byte) 0xBB
            && buffer[2] == (byte) 0xBF;
    begin = mark ? 3 : 0;
    int first = end < 2 ? 0 : (buffer[0] & 0xFF) << 8 | buffer[1] & 0xFF;
    if (first == 0xFEFF || first == 0xFFFE) {
      close();
      throw new UserError(file + ": is UTF-16, needs UTF-8 (iconv -f UTF-16 -t UTF-8)");
    }
  }

  /** Goes to the next line. Returns false behind the last one. */
  public boolean next() {
    int scanned = begin;
    while (true) {
      for (int i = scanned; i < end; i++) {
        if (buffer[i] == '\n') {
          lineBegin = begin;
          lineEnd = i > begin && buffer[i - 1] == '\r' ? i - 1 : i;
          begin = i + 1;
          line++;
          return true;
        }
      }
      int pending = end - begin;
      if (atEnd) {
        if (pending == 0) {
          return false;
        }
        lineBegin = begin;
        lineEnd = end;
        begin = end;
        line++;
        return true;
      }
      fill();
      scanned = begin + pending;
    }
  }

  /** The file that is read. */
  public Path file() {
    return file;
  }

  /** The number of the current line, from 1. */
  public long line() {
    return line;
  }

  /** Where the current line begins, in bytes from the start of the (unpacked) file. */
  public long byteOffset() {
    return bufferOffset + lineBegin;
  }

  /**
   * The array that holds the current line, from {@link #start()}, {@link #length()} bytes; valid
   * until the next line.
   */
  public byte[] bytes() {
    return buffer;
  }

  /** Where the current line begins in {@link #bytes()}. */
  public int start() {
    return lineBegin;
  }

  /** The bytes of the current line, without its end. */
  public int length() {
    return lineEnd - lineBegin;
  }

  /** Whether the current line holds nothing but spaces and tabs. */
  public boolean isBlank() {
    for (int i = lineBegin; i < lineEnd; i++) {
      if (buffer[i] != ' ' && buffer[i] != '\t') {
        return false;
      }
    }
    return true;
  }

  /**
   * The current line as text.
   *
   * @throws UserError if it is not UTF-8, naming the byte
   */
  public String text() {
    ByteBuffer bytes = ByteBuffer.wrap(buffer, lineBegin, lineEnd - lineBegin);
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .onUnmappableCharacter(CodingErrorAction.REPORT)
          .decode(bytes)
          .toString();
    } catch (CharacterCodingException e) {
      throw error("not UTF-8 at byte " + (bufferOffset + bytes.position()) + " of the file");
    }
  }

  /** An error about the current line. */
  public UserError error(String what) {
    return UserError.at(file, line, what);
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw new UserError(file + ": " + e.getMessage(), e);
    }
  }

  /** Opens a file that the user named, unpacking .gz. */
  static InputStream open(Path file) {
    try {
      if (Files.isDirectory(file)) {
        throw new UserError(file + ": is a folder, expected a file");
      }
      InputStream raw = Files.newInputStream(file);
      return file.toString().endsWith(".gz") ? new GZIPInputStream(raw, 1 << 16) : raw;
    } catch (NoSuchFileException e) {
      throw new UserError(file + ": no such file", e);
    } catch (ZipException | EOFException e) {
      throw new UserError(file + ": not a gzip file", e);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Moves what is left of the buffer to its start and reads more behind it. Nothing more comes from
   * a file that could not be read: the same error is thrown again.
   */
  private void fill() {
    if (failure != null) {
      throw failure;
    }
    int pending = end - begin;
    if (pending == buffer.length) {
      if (buffer.length >= LONGEST_LINE_BYTES) {
        failure = UserError.at(file, line + 1, "longer than " + LONGEST_LINE_BYTES + " bytes");
        throw failure;
      }
      buffer = Arrays.copyOf(buffer, 2 * buffer.length);
    }
    System.arraycopy(buffer, begin, buffer, 0, pending);
    bufferOffset += begin;
    begin = 0;
    end = pending;
    try {
      while (end < buffer.length) {
        int got = in.read(buffer, end, buffer.length - end);
        if (got < 0) {
          atEnd = true;
          return;
        }
        end += got;
      }
    } catch (IOException e) {
      failure = UserError.at(file, line + 1, "cannot be read: " + e.getMessage());
      throw failure;
    }
  }
}
