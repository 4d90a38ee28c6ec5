package dev.caravan.data.cache;

import dev.caravan.data.UserError;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** A hash of everything that a cached file depends on. Not safe for several threads. */
public final class CacheKey {
  /**
   * Raised whenever the tokens of an example change for the same files, words and tokenizer, or a
   * file's layout does: older files are then never found.
   */
  static final int VERSION = 1;

  private final MessageDigest digest = sha256();

  /** The key of a file of kind {@code kind}, to which its dependencies are added. */
  public CacheKey(String kind) {
    put(VERSION).put(kind);
  }

  /** Adds a text. */
  public CacheKey put(String text) {
    return put(text.getBytes(StandardCharsets.UTF_8));
  }

  /** Adds a number. */
  public CacheKey put(long number) {
    for (int shift = Long.SIZE - Byte.SIZE; shift >= 0; shift -= Byte.SIZE) {
      digest.update((byte) (number >>> shift));
    }
    return this;
  }

  /** Adds bytes, with their number, so that two additions cannot run into each other. */
  public CacheKey put(byte[] bytes) {
    put(bytes.length);
    digest.update(bytes);
    return this;
  }

  /**
   * Adds the content of a file.
   *
   * @throws UserError if it cannot be read
   */
  public CacheKey putContent(Path file) {
    return put(ContentHash.read(file));
  }

  /** The hash, [32]. The key must not be used afterwards. */
  public byte[] bytes() {
    return digest.digest();
  }

  /** SHA-256 in hexadecimal. */
  public static String hex(byte[] content) {
    return HexFormat.of().formatHex(sha256().digest(content));
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
