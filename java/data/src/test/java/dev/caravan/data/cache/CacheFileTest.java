package dev.caravan.data.cache;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CacheFileTest {
  private static final byte[] KEY = new CacheKey("test").put("a").bytes();
  private static final byte[] META = {1, 2, 3};

  @TempDir Path folder;
  private final Random random = new Random();
  private final List<Row> rows = new ArrayList<>();
  private Path file;

  @BeforeEach
  void write() {
    for (int r = 0; r < 200; r++) {
      rows.add(row(r));
    }
    file = folder.resolve("rows");
    try (CacheWriter out = writer()) {
      for (Row row : rows) {
        int targets = RowStore.targets(row.labels(), row.length());
        TokenRows.put(
            out, row.inputIds(), row.labels(), row.length(), targets, 7, row.index() << 40);
      }
      out.meta(META);
      out.finish(true);
    }
  }

  private CacheWriter writer() {
    return new CacheWriter(file, KEY, TokenRows.ENTRY_BYTES, CacheWriter.Opener.FILES);
  }

  /** Narrow and wide ids, no, some and all targets, labels of their own, no tokens at all. */
  private Row row(int r) {
    int length = r % 17 == 0 ? 0 : random.nextInt(1, 90);
    int bound = r % 3 == 0 ? Integer.MAX_VALUE : 1 << 16;
    int[] ids = random.ints(length, 0, bound).toArray();
    int[] labels = ids.clone();
    for (int i = 0; i < length; i++) {
      int dice = random.nextInt(4);
      labels[i] = r % 5 == 0 || dice > 1 ? labels[i] : Row.NO_TARGET;
      labels[i] = r % 7 == 0 && dice == 3 ? random.nextInt(bound) : labels[i];
    }
    return new Row(ids, labels, r);
  }

  @Test
  void rowsComeBackAsTheyWere() {
    TokenRows read =
        new TokenRows(CacheFile.open(file, KEY, TokenRows.ENTRY_BYTES).orElseThrow());
    assertEquals(rows.size(), read.size());
    assertArrayEquals(META, read.file().meta());
    for (Row row : rows) {
      int[] ids = new int[row.length() + 2];
      int[] labels = new int[row.length() + 2];
      Arrays.fill(labels, 99);
      assertEquals(row.length(), read.length(row.index()));
      read.copyIds(row.index(), ids, 1);
      read.copyLabels(row.index(), labels, 1);
      assertArrayEquals(row.inputIds(), Arrays.copyOfRange(ids, 1, row.length() + 1));
      assertArrayEquals(row.labels(), Arrays.copyOfRange(labels, 1, row.length() + 1));
      assertEquals(99, labels[0]);
      assertEquals(99, labels[row.length() + 1]);
      assertEquals(row.targets(), read.targets(row.index()));
      assertEquals(7, read.note(row.index()));
      assertEquals(row.index() << 40, read.mark(row.index()));
    }
  }

  private boolean opens(Path path) {
    return CacheFile.open(path, KEY, TokenRows.ENTRY_BYTES).isPresent();
  }

  @Test
  void anyByteThatChangedIsNoticed() throws IOException {
    byte[] good = Files.readAllBytes(file);
    Path bad = folder.resolve("bad");
    for (int trial = 0; trial < 400; trial++) {
      // Header and trailer byte by byte, the rest at random.
      int at = trial < 64 ? trial : trial < 128 ? good.length - 1 - trial + 64 : -1;
      at = at >= 0 ? at : random.nextInt(good.length);
      byte[] changed = good.clone();
      changed[at] ^= (byte) (1 << random.nextInt(8));
      Files.write(bad, changed);
      assertFalse(opens(bad), "byte " + at + " of " + good.length);
    }
    Files.write(bad, good);
    assertTrue(opens(bad));
  }

  @Test
  void aFileOfAnotherLengthIsNoticed() throws IOException {
    byte[] good = Files.readAllBytes(file);
    Path bad = folder.resolve("bad");
    for (int length :
        new int[] {0, 1, 63, 64, 104, random.nextInt(good.length), good.length - 1}) {
      Files.write(bad, Arrays.copyOf(good, length));
      assertFalse(opens(bad), length + " of " + good.length);
    }
    Files.write(bad, Arrays.copyOf(good, good.length + 8));
    assertFalse(opens(bad));
  }

  @Test
  void anotherKeyOrIndexIsAnotherFile() {
    byte[] other = new CacheKey("test").put("b").bytes();
    assertTrue(CacheFile.open(file, other, TokenRows.ENTRY_BYTES).isEmpty());
    assertTrue(CacheFile.open(file, KEY, TokenRows.ENTRY_BYTES - 4).isEmpty());
    assertTrue(
        CacheFile.open(folder.resolve("none"), KEY, TokenRows.ENTRY_BYTES).isEmpty());
    assertFalse(opens(folder));
  }

  @Test
  void whatIsNotFinishedLeavesTheOldFileAndNothingElse() throws IOException {
    byte[] before = Files.readAllBytes(file);
    try (CacheWriter out = writer()) {
      TokenRows.put(out, new int[] {1, 2}, new int[] {1, 2}, 2, 1, 0, 0);
    }
    assertArrayEquals(before, Files.readAllBytes(file));
    try (var names = Files.list(folder)) {
      assertEquals(List.of(file), names.toList());
    }
  }

  @Test
  void manyBlocksAreSummedEach() throws IOException {
    int[] ids = random.ints(1 << 20, 1 << 16, Integer.MAX_VALUE).toArray();
    try (CacheWriter out = writer()) {
      for (int r = 0; r < 9; r++) {
        TokenRows.put(out, ids, ids, ids.length, ids.length - 1, r, 0);
      }
      out.finish(true);
    }
    CacheFile read = CacheFile.open(file, KEY, TokenRows.ENTRY_BYTES).orElseThrow();
    assertTrue(read.bytes() > 2L * Layout.BLOCK_BYTES);
    int[] back = new int[ids.length];
    new TokenRows(read).copyIds(8, back, 0);
    assertArrayEquals(ids, back);
  }
}
