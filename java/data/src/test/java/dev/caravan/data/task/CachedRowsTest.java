package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CachedRowsTest {
  @TempDir Path folder;
  @TempDir Path cacheFolder;
  private final List<String> notes = new ArrayList<>();
  private CacheFolder cache;
  private Counting tokenizer;

  /** Counts what is encoded. */
  private static final class Counting implements Tokenizer {
    final Tokenizer inner;
    String identity;
    int encoded;

    Counting(Tokenizer inner) {
      this.inner = inner;
      identity = inner.identity().orElseThrow();
    }

    @Override
    public Optional<String> identity() {
      return Optional.ofNullable(identity);
    }

    @Override
    public int vocabSize() {
      return inner.vocabSize();
    }

    @Override
    public int bosId() {
      return inner.bosId();
    }

    @Override
    public int eosId() {
      return inner.eosId();
    }

    @Override
    public int padId() {
      return inner.padId();
    }

    @Override
    public boolean addsBos() {
      return inner.addsBos();
    }

    @Override
    public OptionalInt id(String piece) {
      return inner.id(piece);
    }

    @Override
    public synchronized int[] encode(String text) {
      encoded++;
      return inner.encode(text);
    }

    @Override
    public synchronized int[] encodeContinuation(String text) {
      encoded++;
      return inner.encodeContinuation(text);
    }

    @Override
    public String decode(int[] ids) {
      return inner.decode(ids);
    }

    @Override
    public void close() {
      inner.close();
    }
  }

  @BeforeEach
  void open() throws IOException {
    cache = CacheFolder.at(cacheFolder, 0, notes::add);
    tokenizer = new Counting(Tokenizers.open(TestData.copy(folder, "/tokenizers/bpe.bin")));
    write("b.jsonl", "four");
    write("a.jsonl", "five");
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private void write(String name, String word) throws IOException {
    Files.writeString(
        folder.resolve(name),
        """
        {"prompt": "say %1$s", "target": "%1$s"}
        {"prompt": "nothing", "target": " "}
        {"prompt": "%2$s", "target": "camel"}
        """
            .formatted(word, "a caravan of ".repeat(30)));
  }

  private Task task() {
    return Task.of(folder.resolve("b.jsonl").toString(), folder.resolve("a.jsonl").toString());
  }

  private LoadedRows load(Task task, int length, CacheFolder from) {
    return RowLoader.load(
        task,
        tokenizer,
        RowLimits.ofSequence(length, tokenizer.vocabSize()),
        Purpose.TRAIN,
        example -> false,
        from);
  }

  private static void assertSame(LoadedRows expected, LoadedRows got) {
    RowSet one = expected.rows();
    RowSet other = got.rows();
    assertEquals(one.size(), other.size());
    for (int r = 0; r < one.size(); r++) {
      Row row = one.row(r);
      assertArrayEquals(row.inputIds(), other.row(r).inputIds());
      assertArrayEquals(row.labels(), other.row(r).labels());
      assertEquals(one.targets(r), other.targets(r));
      assertEquals(one.where(r), other.where(r));
    }
    assertEquals(one.minLength(), other.minLength());
    assertEquals(one.maxLength(), other.maxLength());
    assertEquals(one.totalTokens(), other.totalTokens());
    assertEquals(one.totalTargets(), other.totalTargets());
    assertEquals(expected.report(), got.report());
  }

  @Test
  void theSecondLoadEncodesNothing() {
    LoadedRows plain = load(task(), 40, CacheFolder.none());
    assertTrue(plain.report().total().truncated() > 0);
    assertTrue(plain.report().total().emptyTarget() > 0);
    assertSame(plain, load(task(), 40, cache));
    tokenizer.encoded = 0;
    LoadedRows found = load(task(), 40, cache);
    assertEquals(0, tokenizer.encoded);
    assertInstanceOf(StoredRows.class, found.rows());
    assertSame(plain, found);
    assertEquals(List.of(), notes);
  }

  @Test
  void whateverMakesOtherTokensMakesThemAnew() throws IOException {
    load(task(), 40, cache);
    assertEncodes(load(task(), 41, cache), 41, task());
    Task worded = task().withTemplate("qa");
    assertEncodes(load(worded, 40, cache), 40, worded);
    write("a.jsonl", "six");
    assertEncodes(load(task(), 40, cache), 40, task());
    String before = tokenizer.identity;
    tokenizer.identity = "another";
    assertEncodes(load(task(), 40, cache), 40, task());
    // What was there before is still there.
    tokenizer.identity = before;
    load(task(), 40, cache);
    assertEquals(0, tokenizer.encoded);
  }

  private void assertEncodes(LoadedRows got, int length, Task task) {
    assertTrue(tokenizer.encoded > 0);
    assertSame(load(task, length, CacheFolder.none()), got);
    tokenizer.encoded = 0;
  }

  @Test
  void movedFilesKeepTheirRowsUnderTheirNewNames() throws IOException {
    load(task(), 40, cache);
    Path moved = Files.createDirectory(folder.resolve("moved"));
    for (String name : List.of("a.jsonl", "b.jsonl")) {
      Files.move(folder.resolve(name), moved.resolve(name));
    }
    Task there =
        Task.of(moved.resolve("b.jsonl").toString(), moved.resolve("a.jsonl").toString());
    tokenizer.encoded = 0;
    LoadedRows found = load(there, 40, cache);
    assertEquals(0, tokenizer.encoded);
    assertEquals(moved.resolve("b.jsonl") + ":1", found.rows().where(0));
    assertEquals(moved.resolve("a.jsonl") + ":1", found.rows().where(2));
  }

  @Test
  void aBrokenFileIsMadeAnew() throws IOException {
    LoadedRows plain = load(task(), 40, CacheFolder.none());
    load(task(), 40, cache);
    try (Stream<Path> files = Files.walk(cacheFolder)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Files.write(file, "half".getBytes(StandardCharsets.UTF_8));
      }
    }
    tokenizer.encoded = 0;
    assertSame(plain, load(task(), 40, cache));
    assertTrue(tokenizer.encoded > 0);
  }

  @Test
  void aTokenizerWithoutIdentityIsNotCached() throws IOException {
    tokenizer.identity = null;
    load(task(), 40, cache);
    try (Stream<Path> files = Files.list(cacheFolder)) {
      assertEquals(0, files.count());
    }
  }

  @Test
  void badLinesAreNamedAsWithoutCache() throws IOException {
    Files.writeString(folder.resolve("a.jsonl"), "{\"prompt\": 1");
    UserError plain =
        assertThrows(UserError.class, () -> load(task(), 40, CacheFolder.none()));
    UserError cached = assertThrows(UserError.class, () -> load(task(), 40, cache));
    assertEquals(plain.getMessage(), cached.getMessage());
  }

  /**
   * Tokens of a fixed example. Where this fails because examples become other tokens than before,
   * raise CacheKey.VERSION with it, or runs go on with the old ones.
   */
  @Test
  void tokensChangeOnlyWithTheVersionOfTheCache() throws Exception {
    LoadedRows rows = load(task(), 40, CacheFolder.none());
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (int r = 0; r < rows.rows().size(); r++) {
      Row row = rows.rows().row(r);
      digest.update(Arrays.toString(row.inputIds()).getBytes(StandardCharsets.UTF_8));
      digest.update(Arrays.toString(row.labels()).getBytes(StandardCharsets.UTF_8));
    }
    assertEquals("bfeae376a96d9c30", HexFormat.of().formatHex(digest.digest(), 0, 8));
  }
}
