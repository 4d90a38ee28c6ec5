package dev.caravan.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DurableFilesTest {
  @TempDir Path dir;

  @Test
  void replacesTheWholeContent() throws IOException {
    Path file = dir.resolve("f");
    DurableFiles.replace(file, "a long first content".getBytes(StandardCharsets.UTF_8));
    DurableFiles.replace(file, "short".getBytes(StandardCharsets.UTF_8));
    assertEquals("short", Files.readString(file));
    assertFalse(Files.exists(dir.resolve("f.tmp")));
  }

  @Test
  void aFullDiskLeavesTheOldFileAndSaysWhy() throws IOException {
    Path file = dir.resolve("f");
    Files.writeString(file, "old");
    UserError error =
        assertThrows(
            UserError.class,
            () ->
                DurableFiles.replace(
                    file,
                    channel -> channel.write(ByteBuffer.wrap(new byte[10])),
                    path -> FileChannel.open(Path.of("/dev/full"), StandardOpenOption.WRITE)));
    assertEquals(file + ": cannot be written: No space left on device", error.getMessage());
    assertEquals("old", Files.readString(file));
  }

  @Test
  void aFailureHalfwayLeavesTheOldFileAndNothingBesideIt() throws IOException {
    Path file = dir.resolve("f");
    Files.writeString(file, "old");
    assertThrows(
        UserError.class,
        () ->
            DurableFiles.replace(
                file,
                channel -> {
                  channel.write(ByteBuffer.wrap(new byte[10]));
                  throw new IOException("device error");
                }));
    assertEquals("old", Files.readString(file));
    assertFalse(Files.exists(dir.resolve("f.tmp")));
  }

  @Test
  void aMissingFolderIsOneLine() {
    Path file = dir.resolve("no").resolve("f");
    UserError error = assertThrows(UserError.class, () -> DurableFiles.replace(file, new byte[1]));
    assertEquals(file + ": cannot be written: no such folder", error.getMessage());
  }
}
