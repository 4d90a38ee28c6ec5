package dev.caravan.data.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CacheFolderTest {
  private static final byte[] KEY = new CacheKey("test").bytes();
  private static final int ENTRY = 8;

  @TempDir Path folder;
  private final List<String> notes = new ArrayList<>();
  private final AtomicInteger made = new AtomicInteger();

  private CacheFolder cache() {
    return CacheFolder.at(folder, 0, notes::add);
  }

  private void make(CacheWriter out) {
    made.incrementAndGet();
    for (int r = 0; r < 10; r++) {
      out.putInt(r);
      out.entry().putLong(r);
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      return files
          .filter(Files::isRegularFile)
          .filter(file -> !file.toString().endsWith(".lock"))
          .toList();
    }
  }

  @Test
  void whatIsThereIsNotMadeAgain() {
    assertEquals(10, cache().findOrMake("t", KEY, ENTRY, this::make).orElseThrow().records());
    assertEquals(9, cache().findOrMake("t", KEY, ENTRY, this::make).orElseThrow().entryLong(9, 0));
    assertEquals(1, made.get());
    assertEquals(List.of(), notes);
  }

  @Test
  void whatIsBrokenIsMadeAgain() throws IOException {
    cache().findOrMake("t", KEY, ENTRY, this::make);
    Path file = files().get(0);
    byte[] bytes = Files.readAllBytes(file);
    bytes[70] ^= 1;
    Files.write(file, bytes);
    assertTrue(cache().find("t", KEY, ENTRY).isEmpty());
    assertEquals(10, cache().findOrMake("t", KEY, ENTRY, this::make).orElseThrow().records());
    assertEquals(2, made.get());
    Files.write(file, new byte[0]);
    assertTrue(cache().findOrMake("t", KEY, ENTRY, this::make).isPresent());
    assertEquals(3, made.get());
    assertEquals(1, files().size());
  }

  @Test
  void oneOfManyThreadsMakesIt() {
    CacheFolder one = cache();
    CacheFolder other = cache();
    long records =
        IntStream.range(0, 16)
            .parallel()
            .mapToObj(i -> (i % 2 == 0 ? one : other).findOrMake("t", KEY, ENTRY, this::make))
            .mapToLong(file -> file.orElseThrow().records())
            .sum();
    assertEquals(160, records);
    assertEquals(1, made.get());
  }

  /** The other process of the next test: makes the file if it must, and says that it did. */
  public static final class Maker {
    public static void main(String[] args) {
      CacheFolder cache = CacheFolder.at(Path.of(args[0]), 0, note -> {});
      CacheFile file =
          cache
              .findOrMake(
                  "t",
                  KEY,
                  ENTRY,
                  out -> {
                    say(Path.of(args[1]));
                    for (int r = 0; r < 10; r++) {
                      out.putInt(r);
                      out.entry().putLong(r);
                    }
                  })
              .orElseThrow();
      System.exit(file.records() == 10 ? 0 : 1);
    }

    private static void say(Path into) {
      try {
        Files.writeString(into, "made\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  @Test
  void oneOfManyProcessesMakesIt(@TempDir Path beside) throws Exception {
    Path said = beside.resolve("said");
    String classes =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    List<Process> others = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      others.add(
          new ProcessBuilder(
                  ProcessHandle.current().info().command().orElseThrow(),
                  "-Xshare:auto",
                  "-XX:TieredStopAtLevel=1",
                  "-cp",
                  classes,
                  Maker.class.getName(),
                  folder.toString(),
                  said.toString())
              .inheritIO()
              .start());
    }
    for (Process other : others) {
      assertEquals(0, other.waitFor());
    }
    assertEquals(List.of("made"), Files.readAllLines(said));
  }

  @Test
  void aFullDiskIsToldOnceAndNothingIsLeft() throws IOException {
    CacheFolder full = new CacheFolder(folder, 0, notes::add, file -> new FullDisk(file, 100));
    assertTrue(full.findOrMake("t", KEY, ENTRY, this::make).isEmpty());
    assertTrue(full.findOrMake("u", KEY, ENTRY, this::make).isEmpty());
    assertFalse(full.keep("v", KEY, ENTRY, this::make));
    assertEquals(1, made.get());
    assertEquals(List.of(), files());
    assertEquals(
        List.of(
            "cache "
                + folder
                + ": No space left on device; going on without it (data.cache names another"
                + " folder)"),
        notes);
  }

  @Test
  void aFolderThatCannotBeMadeIsToldOnce() throws IOException {
    Path inTheWay = Files.writeString(folder.resolve("file"), "");
    Map<Path, String> reasons =
        Map.of(inTheWay, "Not a directory", Path.of("/proc/none"), "cannot be made");
    reasons.forEach(
        (place, reason) -> {
          notes.clear();
          CacheFolder cache = CacheFolder.at(place, 0, notes::add);
          assertTrue(cache.findOrMake("t", KEY, ENTRY, this::make).isEmpty());
          assertEquals(
              List.of(
                  "cache %s: %s; going on without it (data.cache names another folder)"
                      .formatted(place, reason)),
              notes);
        });
    assertEquals(0, made.get());
  }

  @Test
  void whatTheMakerFindsWrongComesThrough() throws IOException {
    CacheFolder cache = cache();
    UserError error =
        assertThrows(
            UserError.class,
            () ->
                cache.findOrMake(
                    "t",
                    KEY,
                    ENTRY,
                    out -> {
                      throw new UserError("a.jsonl:3: bad");
                    }));
    assertEquals("a.jsonl:3: bad", error.getMessage());
    assertEquals(List.of(), notes);
    assertEquals(List.of(), files());
    assertTrue(cache.findOrMake("t", KEY, ENTRY, this::make).isPresent());
  }

  @Test
  void whatNobodyUsesGoes() throws IOException {
    cache().findOrMake("t", KEY, ENTRY, this::make);
    Path old = files().get(0);
    Path half =
        Files.writeString(
            old.resolveSibling(old.getFileName() + ".1.2" + CacheWriter.UNFINISHED), "half");
    age(old, 31);
    age(half, 2);
    byte[] other = new CacheKey("other").bytes();
    cache().findOrMake("t", other, ENTRY, this::make);
    assertEquals(1, files().size());
    assertTrue(cache().find("t", KEY, ENTRY).isEmpty());
    // Use keeps it: a find after some days makes it young again.
    age(files().get(0), 29);
    assertTrue(cache().find("t", other, ENTRY).isPresent());
    cache().findOrMake("t", KEY, ENTRY, this::make);
    assertEquals(2, files().size());
  }

  @Test
  void whatIsNotTheCachesStays() throws IOException {
    cache().findOrMake("t", KEY, ENTRY, this::make);
    Path ours = files().get(0);
    String name = ours.getFileName().toString();
    List<Path> others =
        List.of(
            folder.resolve("thesis.tex"),
            folder.resolve("half" + CacheWriter.UNFINISHED),
            folder.resolve(name),
            folder.resolve("t").resolve(name),
            folder.resolve("t/notes"),
            ours.resolveSibling("notes.lock"),
            ours.resolveSibling(name + ".txt"),
            folder.resolve("u/aa").resolve(name));
    Files.createDirectories(folder.resolve("u/aa"));
    for (Path other : others) {
      age(Files.writeString(other, "mine"), 400);
    }
    age(ours, 400);
    cache().findOrMake("t", new CacheKey("other").bytes(), ENTRY, this::make);
    assertFalse(Files.exists(ours));
    for (Path other : others) {
      assertTrue(Files.exists(other), other.toString());
    }
  }

  private static void age(Path file, int days) throws IOException {
    Files.setLastModifiedTime(
        file, FileTime.from(Instant.now().minus(Duration.ofDays(days).plusHours(1))));
  }

  @Test
  void theUsualFolderIsTheUsers() {
    assertEquals(Path.of("/h/.cache/caravan"), CacheFolder.usual(Map.of(), "/h"));
    assertEquals(Path.of("/x/caravan"), CacheFolder.usual(Map.of("XDG_CACHE_HOME", "/x"), "/h"));
    assertEquals(
        Path.of("/h/.cache/caravan"), CacheFolder.usual(Map.of("XDG_CACHE_HOME", "x"), "/h"));
    assertEquals(
        Path.of("/c"),
        CacheFolder.usual(Map.of("CARAVAN_CACHE", "/c", "XDG_CACHE_HOME", "/x"), "/h"));
  }

  @Test
  void smallSourcesAreNotWorthIt() {
    CacheFolder cache = CacheFolder.at(folder, CacheFolder.WORTHWHILE_BYTES, notes::add);
    assertFalse(cache.isWorthwhile(CacheFolder.WORTHWHILE_BYTES - 1));
    assertTrue(cache.isWorthwhile(CacheFolder.WORTHWHILE_BYTES));
    assertFalse(CacheFolder.none().isWorthwhile(Long.MAX_VALUE));
  }

  @Test
  void theHashOfAFileIsThatOfItsContent() throws IOException {
    Path file = folder.resolve("rows.jsonl");
    Files.writeString(file, "one");
    byte[] one = ContentHash.read(file);
    assertArrayEquals(one, CacheFolder.none().content(file));
    assertArrayEquals(one, cache().content(file));
    assertArrayEquals(one, cache().content(file));
    Files.writeString(file, "another");
    assertArrayEquals(ContentHash.read(file), cache().content(file));
    assertFalse(Arrays.equals(one, cache().content(file)));
    assertThrows(UserError.class, () -> cache().content(folder.resolve("none")));
  }

  /** Windows come one by one, and each would wait for the disk. */
  @Test
  void smallFilesDoNotWaitForTheDisk() {
    AtomicInteger forced = new AtomicInteger();
    CacheFolder counted =
        new CacheFolder(folder, 0, notes::add, path -> new FullDisk(path, Long.MAX_VALUE, forced));
    assertTrue(counted.keep("t", KEY, ENTRY, this::make));
    assertEquals(0, forced.get());
    assertEquals(10, counted.find("t", KEY, ENTRY).orElseThrow().records());
    byte[] other = new CacheKey("other").bytes();
    assertTrue(counted.findOrMake("t", other, ENTRY, this::make).isPresent());
    assertEquals(1, forced.get());
  }
}
