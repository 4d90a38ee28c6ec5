package dev.caravan.data.source;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LineReaderTest {
  @TempDir Path folder;

  private Path file(String text) throws IOException {
    return Files.writeString(folder.resolve("a.jsonl"), text);
  }

  private static List<String> all(Path file) {
    List<String> lines = new ArrayList<>();
    try (LineReader reader = new LineReader(file)) {
      while (reader.next()) {
        lines.add(reader.text());
        assertEquals(lines.size(), reader.line());
      }
      assertFalse(reader.next());
    }
    return lines;
  }

  @Test
  void splitsAtLineFeeds() throws IOException {
    assertEquals(List.of(), all(file("")));
    assertEquals(List.of(""), all(file("\n")));
    assertEquals(List.of("a"), all(file("a")));
    assertEquals(List.of("a", "", "b"), all(file("a\n\r\nb\r\n")));
    assertEquals(List.of("a\rb", "c\r"), all(file("a\rb\nc\r")));
  }

  @Test
  void skipsAByteOrderMark() throws IOException {
    assertEquals(List.of("é", "x"), all(file("\uFEFFé\nx")));
  }

  @Test
  void refusesUtf16() throws IOException {
    for (Charset other : List.of(StandardCharsets.UTF_16LE, StandardCharsets.UTF_16BE)) {
      Path file = folder.resolve("wide.jsonl");
      Files.writeString(file, "\uFEFF{}\n", other);
      assertEquals(
          file + ": is UTF-16, needs UTF-8 (iconv -f UTF-16 -t UTF-8)",
          assertThrows(UserError.class, () -> new LineReader(file)).getMessage());
    }
  }

  @Test
  void readsLinesOfEveryLengthAndKnowsWhereTheyBegin() throws IOException {
    Random random = new Random(2);
    StringBuilder text = new StringBuilder();
    List<String> expected = new ArrayList<>();
    List<Long> offsets = new ArrayList<>();
    long offset = 0;
    for (int i = 0; i < 60; i++) {
      String line = (i % 7 == 0 ? "é" : "x").repeat(random.nextInt(i % 10 == 0 ? 200_000 : 50));
      expected.add(line);
      offsets.add(offset);
      text.append(line).append('\n');
      offset += line.getBytes(StandardCharsets.UTF_8).length + 1;
    }
    try (LineReader reader = new LineReader(file(text.toString()))) {
      for (int i = 0; i < expected.size(); i++) {
        assertTrue(reader.next());
        assertEquals(expected.get(i), reader.text());
        assertEquals(offsets.get(i), reader.byteOffset());
      }
      assertFalse(reader.next());
    }
  }

  @Test
  void unpacksGzip() throws IOException {
    Path packed = folder.resolve("a.jsonl.gz");
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(packed))) {
      out.write("one\ntwo".getBytes(StandardCharsets.UTF_8));
    }
    assertEquals(List.of("one", "two"), all(packed));
    Path fake = Files.writeString(folder.resolve("b.gz"), "plain text");
    assertEquals(
        fake + ": not a gzip file",
        assertThrows(UserError.class, () -> new LineReader(fake)).getMessage());
    Path empty = Files.createFile(folder.resolve("c.gz"));
    assertEquals(
        empty + ": not a gzip file",
        assertThrows(UserError.class, () -> new LineReader(empty)).getMessage());
  }

  @Test
  void namesTheByteThatIsNotUtf8() throws IOException {
    Path bad = folder.resolve("bad.txt");
    Files.write(bad, new byte[] {'a', '\n', 'b', (byte) 0xFF, 'c'});
    try (LineReader reader = new LineReader(bad)) {
      assertTrue(reader.next());
      assertEquals("a", reader.text());
      assertTrue(reader.next());
      UserError error = assertThrows(UserError.class, reader::text);
      assertEquals(bad + ":2: not UTF-8 at byte 3 of the file", error.getMessage());
    }
  }

  @Test
  void refusesWhatIsNoFile() {
    Path missing = folder.resolve("none.jsonl");
    assertEquals(
        missing + ": no such file",
        assertThrows(UserError.class, () -> new LineReader(missing)).getMessage());
    assertEquals(
        folder + ": is a folder, expected a file",
        assertThrows(UserError.class, () -> new LineReader(folder)).getMessage());
  }

  @Test
  void tellsBlankLines() throws IOException {
    try (LineReader reader = new LineReader(file(" \t\nx\n"))) {
      assertTrue(reader.next());
      assertTrue(reader.isBlank());
      assertTrue(reader.next());
      assertFalse(reader.isBlank());
    }
  }
}
