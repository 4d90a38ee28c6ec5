package dev.caravan.checkpoint;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.stream.Stream;

/**
 * Writing that survives a crash: bytes are flushed to the disk before a name points to them, so a
 * reader sees the old content or the new, never a part.
 */
public final class DurableFiles {
  private DurableFiles() {}

  /** Writes the content of a file to a channel. */
  @FunctionalInterface
  public interface Body {
    void writeTo(FileChannel channel) throws IOException;
  }

  /** Opens the file that the bytes go to; tests put a full disk here. */
  @FunctionalInterface
  interface Opener {
    FileChannel open(Path file) throws IOException;

    Opener FILES =
        file ->
            FileChannel.open(
                file,
                StandardOpenOption.WRITE,
                StandardOpenOption.CREATE,
                StandardOpenOption.TRUNCATE_EXISTING);
  }

  /**
   * Replaces a file: writes beside it, flushes, renames, flushes the folder.
   *
   * @throws UserError if it cannot be written, for example because the disk is full; the old file,
   *     where there was one, is untouched
   */
  public static void replace(Path file, Body body) {
    replace(file, body, Opener.FILES);
  }

  static void replace(Path file, Body body, Opener opener) {
    Path aside = file.resolveSibling(file.getFileName() + ".tmp");
    try {
      write(aside, body, opener);
      Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      flushFolder(file.toAbsolutePath().getParent());
    } catch (IOException e) {
      throw cannotWrite(file, e);
    } finally {
      deleteQuietly(aside);
    }
  }

  /** Replaces a file by bytes; see {@link #replace(Path, Body)}. */
  public static void replace(Path file, byte[] bytes) {
    replace(file, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
  }

  /** Writes and flushes a file in a folder that nobody reads yet. */
  static void write(Path file, Body body, Opener opener) throws IOException {
    try (FileChannel channel = opener.open(file)) {
      body.writeTo(channel);
      channel.force(true);
    }
  }

  static void writeFully(FileChannel channel, ByteBuffer buffer) throws IOException {
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
  }

  /** Makes renames and new names in a folder last. */
  static void flushFolder(Path folder) throws IOException {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  /** The one line for a write that failed. */
  public static UserError cannotWrite(Path file, IOException e) {
    return new UserError(file + ": cannot be written: " + reason(e), e);
  }

  /** Why a file operation failed, without the path, which the exceptions of files put first. */
  static String reason(IOException e) {
    if (e instanceof FileSystemException fileError && fileError.getReason() != null) {
      return fileError.getReason();
    }
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof FileAlreadyExistsException) {
      return "a file is in the way";
    }
    if (e instanceof NoSuchFileException) {
      return "no such folder";
    }
    return e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
  }

  /** Removes a file or a folder with all that is in it; nothing happens where there is none. */
  public static void deleteTree(Path root) throws IOException {
    if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // The failure that left it is already on its way; the next start removes leftovers.
    }
  }
}
