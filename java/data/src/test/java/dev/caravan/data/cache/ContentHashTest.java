package dev.caravan.data.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A memo with a hash that is not the content's shows whether the content was read. */
class ContentHashTest {
  /** As if all changes were long ago, and as if all were of this moment. */
  private static final Duration LONG_AGO = Duration.ofDays(-1);

  private static final Duration NOW = Duration.ofDays(365_000);

  private static final String PLANTED = "7".repeat(64);

  @TempDir Path folder;
  private Path file;
  private Path memo;

  @BeforeEach
  void write() throws IOException {
    file = folder.resolve("rows.jsonl");
    memo = folder.resolve("memo");
    Files.writeString(file, "some rows");
  }

  private byte[] hash() {
    return ContentHash.of(file, memo, LONG_AGO);
  }

  private void plant() throws IOException {
    hash();
    assertTrue(Files.exists(memo));
    Files.writeString(memo, ContentHash.line(PLANTED, ContentHash.state(file).orElseThrow()));
  }

  private boolean wasRead() {
    byte[] hash = hash();
    boolean planted = Arrays.equals(HexFormat.of().parseHex(PLANTED), hash);
    if (!planted) {
      assertArrayEquals(ContentHash.read(file), hash);
    }
    return !planted;
  }

  @Test
  void aFileThatIsAsItWasIsNotReadAgain() throws IOException {
    assertArrayEquals(ContentHash.read(file), hash());
    assertArrayEquals(ContentHash.read(file), hash());
    plant();
    assertFalse(wasRead());
  }

  @Test
  void anotherSizeIsReadAgain() throws IOException {
    plant();
    Files.writeString(file, "some more rows");
    assertTrue(wasRead());
  }

  @Test
  void anotherTimeIsReadAgain() throws IOException {
    plant();
    Files.writeString(file, "same rows");
    Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000));
    assertTrue(wasRead());
  }

  @Test
  void anotherFileOfTheSameSizeAndTimeIsReadAgain() throws IOException {
    plant();
    Path other = folder.resolve("other");
    Files.writeString(other, "same rows");
    Files.setLastModifiedTime(other, Files.getLastModifiedTime(file));
    Files.move(other, file, StandardCopyOption.REPLACE_EXISTING);
    assertTrue(wasRead());
  }

  @Test
  void aFileThatChangedJustNowIsReadAgain() {
    ContentHash.of(file, memo, NOW);
    assertFalse(Files.exists(memo));
  }

  @Test
  void aBrokenMemoIsNotTrusted() throws IOException {
    plant();
    String whole = Files.readString(memo);
    for (String broken :
        new String[] {
          "",
          whole.substring(0, whole.length() - 1),
          whole.substring(0, 64),
          "8" + whole.substring(1),
          "\0".repeat(whole.length())
        }) {
      Files.writeString(memo, broken);
      assertTrue(wasRead(), "'" + broken + "'");
    }
  }

  @Test
  void aFolderThatCannotBeWrittenServesToo() {
    memo = folder.resolve("nowhere/memo");
    assertArrayEquals(ContentHash.read(file), hash());
  }
}
