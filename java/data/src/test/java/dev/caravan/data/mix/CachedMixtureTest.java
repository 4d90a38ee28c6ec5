package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.TestData;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mixture.MixtureOrder;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CachedMixtureTest {
  private static final String MIX =
      """
      tasks:
        sums:
          path: sums.jsonl
          format: record
          templates:
          - {prompt: "Add {q}:", target: " {a}"}
          - {prompt: "What is {q}?", target: " {a}"}
        text: {path: story.txt}
        ids: {path: ids.jsonl}
      bad_rows: skip
      mixtures: {all: {parts: {sums: 3, text: 1, ids: 1}}}
      """;

  @TempDir Path folder;
  @TempDir Path cacheFolder;
  private final List<String> notes = new ArrayList<>();
  private CacheFolder cache;
  private Path tokenizerFile;

  @BeforeEach
  void files() throws IOException {
    cache = CacheFolder.at(cacheFolder, 0, notes::add);
    tokenizerFile = TestData.copy(folder, "/tokenizers/bpe.bin");
    write(
        "sums.jsonl",
        IntStream.range(0, 50)
            .mapToObj(
                i ->
                    i == 7
                        ? "{\"q\": \"lacks an answer\"}"
                        : "{\"q\": \"%d and %d\", \"a\": \"%d\"}".formatted(i, i, 2 * i)));
    write("story.txt", Stream.of("A caravan goes through the desert. ".repeat(40)));
    write("ids.jsonl", Stream.of("{\"input_ids\": [1, 5, 6], \"labels\": [-100, -100, 7]}"));
  }

  private void write(String name, Stream<String> lines) throws IOException {
    Files.writeString(folder.resolve(name), lines.collect(Collectors.joining("\n")));
  }

  private Mixture load(CacheFolder from, long seed, int length) {
    return load(from, seed, length, example -> false);
  }

  private Mixture load(CacheFolder from, long seed, int length, Predicate<Example> without) {
    MixtureSpec spec =
        MixtureFile.parse(MIX, "mix.yaml", path -> folder.resolve(path).toString());
    Tokenizer tokenizer = Tokenizers.open(tokenizerFile);
    return Mixture.load(
        spec,
        tokenizer,
        RowLimits.ofSequence(length, tokenizer.vocabSize()),
        seed,
        true,
        without,
        from);
  }

  @Test
  void rowsThatAreEvaluatedOnAreCountedByTask() {
    Predicate<Example> without =
        example ->
            example instanceof Example.Fields fields
                && fields.values().get("q").startsWith("3");
    for (int visit = 0; visit < 2; visit++) {
      try (Mixture mixture = load(cache.apart("copies"), 3, 60, without)) {
        long read = mixture.sizes()[0] + mixture.copies()[0];
        assertEquals(49, read, "all but the bad one");
        assertEquals(11, mixture.copies()[0]);
        assertEquals(0, mixture.copies()[2]);
      }
    }
  }

  private static void assertSame(Mixture expected, Mixture got) {
    assertEquals(expected.identity(), got.identity());
    assertArrayEquals(expected.sizes(), got.sizes());
    assertArrayEquals(expected.skipped(), got.skipped());
    for (int k = 0; k < 2 * MixtureOrder.WINDOW; k += 7) {
      Row row = expected.rows().row(k);
      assertArrayEquals(row.inputIds(), got.rows().row(k).inputIds());
      assertArrayEquals(row.labels(), got.rows().row(k).labels());
      assertEquals(expected.rows().targets(k), got.rows().targets(k));
      assertEquals(expected.rows().where(k), got.rows().where(k));
    }
    for (int task = 0; task < expected.names().size(); task++) {
      assertEquals(
          expected.rows().losses().truncated(task) > 0, got.rows().losses().truncated(task) > 0);
    }
  }

  private List<Path> cached(String kind) throws IOException {
    try (Stream<Path> files = Files.walk(cacheFolder.resolve(kind))) {
      return files
          .filter(Files::isRegularFile)
          .filter(file -> !file.toString().endsWith(".lock"))
          .toList();
    }
  }

  @Test
  void exampleKIsTheSameWithAndWithoutCache() throws IOException {
    try (Mixture plain = load(CacheFolder.none(), 3, 60)) {
      assertEquals(1, plain.skipped()[0]);
      try (Mixture making = load(cache, 3, 60)) {
        assertSame(plain, making);
      }
      assertTrue(cached("windows").size() >= 2);
      assertEquals(1, cached("examples").size());
      assertEquals(2, cached("rows").size());
      try (Mixture finding = load(cache, 3, 60)) {
        assertSame(plain, finding);
      }
    }
    assertEquals(List.of(), notes);
  }

  @Test
  void windowsAreFoundAndNotMade() throws IOException {
    try (Mixture making = load(cache, 3, 60)) {
      making.rows().row(0);
    }
    List<Path> before = cached("windows");
    // Were a window made again, its file would be another.
    var times = before.stream().map(CachedMixtureTest::time).toList();
    try (Mixture finding = load(cache, 3, 60)) {
      finding.rows().row(0);
    }
    assertEquals(times, before.stream().map(CachedMixtureTest::time).toList());
    assertEquals(before, cached("windows"));
  }

  private static Object time(Path file) {
    try {
      return List.of(
          Files.getLastModifiedTime(file), Files.getAttribute(file, "unix:ino").toString());
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void anotherSeedOrLimitHasOtherWindowsAndTheSameExamples() throws IOException {
    try (Mixture one = load(cache, 3, 60)) {
      one.rows().row(0);
    }
    int windows = cached("windows").size();
    try (Mixture other = load(cache, 4, 60)) {
      other.rows().row(0);
    }
    assertEquals(2 * windows, cached("windows").size());
    try (Mixture other = load(cache, 3, 61)) {
      other.rows().row(0);
    }
    assertEquals(3 * windows, cached("windows").size());
    assertEquals(1, cached("examples").size());
  }

  @Test
  void brokenFilesAreMadeAnew() throws IOException {
    try (Mixture plain = load(CacheFolder.none(), 3, 60)) {
      try (Mixture making = load(cache, 3, 60)) {
        making.rows().row(0);
      }
      for (String kind : List.of("windows", "examples", "rows")) {
        for (Path file : cached(kind)) {
          byte[] bytes = Files.readAllBytes(file);
          bytes[bytes.length / 2] ^= 4;
          Files.write(file, bytes);
        }
      }
      try (Mixture again = load(cache, 3, 60)) {
        assertSame(plain, again);
      }
    }
    assertEquals(List.of(), notes);
  }

  @Test
  void otherDataIsAnotherMixture() throws IOException {
    String before;
    try (Mixture making = load(cache, 3, 60)) {
      making.rows().row(0);
      before = making.identity();
    }
    Files.writeString(folder.resolve("sums.jsonl"), "{\"q\": \"new\", \"a\": \"answer\"}");
    try (Mixture plain = load(CacheFolder.none(), 3, 60);
        Mixture again = load(cache, 3, 60)) {
      assertNotEquals(before, again.identity());
      assertSame(plain, again);
    }
  }

  @Test
  void everyKindOfExampleComesBack() throws IOException {
    Path file = folder.resolve("chat.jsonl");
    write(
        "chat.jsonl",
        Stream.of(
            """
            {"messages": [{"role": "user", "content": "h\\u00e9 \\ud83d\\ude00"}, \
            {"role": "assistant", "content": "half \\ud83d pair"}]}""",
            """
            {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "a"}, \
            {"role": "assistant", "content": "b"}]}"""));
    ExampleSet plain = examples(file, Format.MESSAGES, CacheFolder.none());
    ExampleSet stored = examples(file, Format.MESSAGES, cache);
    assertInstanceOf(StoredExamples.class, stored);
    assertExamples(plain, stored);

    write(
        "fields.jsonl",
        Stream.of(
            "{\"prompt\": \"p\", \"target\": \"t\", \"n\": 4, \"same\": \"t\"}",
            "{\"prompt\": \"\", \"target\": \"t \\udc00\", \"other\": true}"));
    Path fields = folder.resolve("fields.jsonl");
    assertExamples(
        examples(fields, Format.PROMPT, CacheFolder.none()),
        examples(fields, Format.PROMPT, cache));

    write(
        "task.json",
        Stream.of(
            """
            {"Definition": ["d"], "Instances": [{"input": "i", "output": ["a", "b", "c"]}]}"""));
    Path task = folder.resolve("task.json");
    ExampleSet whole = examples(task, Format.SUPERNI, CacheFolder.none());
    assertEquals(List.of("b", "c"), ((Example.Fields) whole.example(0)).alternatives());
    assertExamples(whole, examples(task, Format.SUPERNI, cache));
  }

  private static void assertExamples(ExampleSet plain, ExampleSet stored) {
    assertEquals(plain.size(), stored.size());
    for (int i = 0; i < plain.size(); i++) {
      Example example = plain.example(i);
      assertEquals(example, stored.example(i));
      assertEquals(plain.where(i), stored.where(i));
    }
  }

  private static ExampleSet examples(Path file, Format format, CacheFolder from) {
    String yaml = "tasks: {t: {path: '%s', format: %s}}".formatted(file, format.id());
    TaskSpec task = MixtureFile.parse(yaml, "mix.yaml", path -> path).tasks().get("t");
    return TaskExamples.read(task, MixtureSpec.BadRows.STOP, List.of(), example -> false, from);
  }
}
