package dev.caravan.data.cache;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The SHA-256 of a file's content, kept beside what the file system says of the file: size, time of the
 * last change of the content and of what is said of it, device and inode. While all five are as they were,
 * so is the content, and it is not read again.
 *
 * <p>Times have steps, so a file that changed within {@link #STEP} of being read could change once more and
 * look the same: its hash is not kept. Neither is that of a file that changes while it is read, nor any where the
 * file system does not tell all five. A hash that was not written whole fails its own sum.
 */
final class ContentHash {
  /** More than any step of the times of a file system in use. */
  private static final Duration STEP = Duration.ofSeconds(3);

  private static final List<String> STATE = List.of("size", "lastModifiedTime", "ctime", "dev", "ino");

  private ContentHash() {}

  /**
   * The hash of a file, [32].
   *
   * @param memo where it is kept
   * @throws UserError if the file cannot be read
   */
  static byte[] of(Path file, Path memo) {
    return of(file, memo, STEP);
  }

  /** As above, for times with other steps. */
  static byte[] of(Path file, Path memo, Duration step) {
    Optional<String> before = state(file);
    Optional<byte[]> known = before.flatMap(state -> find(memo, state));
    if (known.isPresent()) {
      return known.get();
    }
    Instant began = Instant.now();
    byte[] hash = read(file);
    if (before.isPresent() && isSettled(file, began.minus(step)) && before.equals(state(file))) {
      keep(memo, before.get(), hash);
    }
    return hash;
  }

  /**
   * The hash of a file's content as it is now, [32].
   *
   * @throws UserError if it cannot be read
   */
  static byte[] read(Path file) {
    MessageDigest content = CacheKey.sha256();
    byte[] buffer = new byte[1 << 16];
    try (InputStream in = Files.newInputStream(file)) {
      for (int got = in.read(buffer); got >= 0; got = in.read(buffer)) {
        content.update(buffer, 0, got);
      }
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    return content.digest();
  }

  /** What the file system says of a file; empty if it does not tell enough. */
  static Optional<String> state(Path file) {
    try {
      Map<String, Object> all = attributes(file);
      StringBuilder state = new StringBuilder();
      for (String name : STATE) {
        Object value = all.get(name);
        state.append(name).append('=');
        state.append(value instanceof FileTime time ? time.toInstant() : value).append(' ');
      }
      return Optional.of(state.toString());
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static Map<String, Object> attributes(Path file) throws IOException {
    return Files.readAttributes(file, "unix:" + String.join(",", STATE));
  }

  private static boolean isSettled(Path file, Instant limit) {
    try {
      Map<String, Object> all = attributes(file);
      return ((FileTime) all.get("lastModifiedTime")).toInstant().isBefore(limit)
          && ((FileTime) all.get("ctime")).toInstant().isBefore(limit);
    } catch (IOException e) {
      return false;
    }
  }

  /** One line: hash, sum of the line's rest, state. */
  private static Optional<byte[]> find(Path memo, String state) {
    try {
      String kept = Files.readString(memo);
      String hash = kept.substring(0, Math.min(kept.length(), 2 * Layout.KEY_BYTES));
      return kept.equals(line(hash, state))
          ? Optional.of(HexFormat.of().parseHex(hash))
          : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static void keep(Path memo, String state, byte[] hash) {
    Path aside =
        memo.resolveSibling(
            "%s.%d.%d%s"
                .formatted(
                    memo.getFileName(),
                    ProcessHandle.current().pid(),
                    System.nanoTime(),
                    CacheWriter.UNFINISHED));
    try {
      Files.writeString(aside, line(HexFormat.of().formatHex(hash), state));
      Files.move(aside, memo, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      // The file is read again the next time.
      try {
        Files.deleteIfExists(aside);
      } catch (IOException leftover) {
        // It is removed when its folder is next cleaned.
      }
    }
  }

  /** What is kept of a hash. */
  static String line(String hash, String state) {
    String sum = CacheKey.hex((hash + state).getBytes(StandardCharsets.UTF_8));
    return hash + " " + sum + " " + state;
  }
}
