package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.PairSet;
import dev.caravan.data.Row;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.PairBatch;
import dev.caravan.data.pack.PairShape;
import dev.caravan.data.pack.PairSource;
import dev.caravan.data.pack.PairStatistics;
import dev.caravan.data.pack.PairStep;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Worded tasks as pairs of source and target. */
class MixturePairsTest {
  private static final int SOURCE = 48;
  private static final int TARGET = 12;

  @TempDir Path folder;
  private Path tokenizerFile;

  @BeforeEach
  void files() throws IOException {
    tokenizerFile = TestData.copy(folder, "/tokenizers/bpe.bin");
    write("sums.jsonl", 50, i -> "{\"q\": \"%d and %d\", \"a\": \"%d\"}".formatted(i, i, 2 * i));
    write(
        "long.jsonl",
        8,
        i ->
            "{\"prompt\": \"begin%s\", \"target\": \"%s\"}"
                .formatted(
                    " so".repeat(i == 0 ? 200 : 1), i == 1 ? "on ".repeat(80) : i == 2 ? " " : "t"));
    Files.writeString(
        folder.resolve("tokens.jsonl"),
        "{\"input_ids\": [40, 41, 42], \"labels\": [-100, 43, -100, 44]}\n");
  }

  private interface Line {
    String of(int i);
  }

  private void write(String name, int rows, Line line) throws IOException {
    Files.writeString(
        folder.resolve(name),
        IntStream.range(0, rows).mapToObj(line::of).collect(Collectors.joining("\n")));
  }

  private static final String SUMS =
      """
        sums:
          path: sums.jsonl
          format: record
          templates: {prompt: "Add {q}:", target: "{a}"}
      """;

  private Mixture load(String tasks, int source, int target, CacheFolder cache) {
    MixtureSpec spec =
        MixtureFile.parse("tasks:\n" + tasks, "m.yaml", path -> folder.resolve(path).toString());
    Tokenizer tokenizer = Tokenizers.open(tokenizerFile);
    return Mixture.load(
        spec,
        tokenizer,
        RowLimits.ofPairs(source, target, tokenizer.vocabSize()),
        3,
        true,
        example -> false,
        cache);
  }

  private Mixture load(String tasks) {
    return load(tasks, SOURCE, TARGET, CacheFolder.none());
  }

  private static int[] source(PairSet pairs, int row) {
    int[] ids = new int[pairs.sourceLength(row)];
    pairs.copySource(row, ids, 0);
    return ids;
  }

  private static int[] labels(PairSet pairs, int row) {
    int[] ids = new int[pairs.targetLength(row)];
    pairs.copyLabels(row, ids, 0);
    return ids;
  }

  private static int[] ended(Tokenizer tokenizer, String text) {
    int[] ids = tokenizer.encode(text);
    int[] ended = Arrays.copyOf(ids, ids.length + 1);
    ended[ids.length] = tokenizer.eosId();
    return ended;
  }

  @Test
  void bothSidesAreTextsOfTheirOwnThatEnd() {
    try (Mixture mixture = load(SUMS)) {
      PairSet pairs = mixture.rows().pairs();
      Tokenizer tokenizer = mixture.tokenizer();
      assertEquals(50, pairs.size());
      for (int k = 0; k < 120; k++) {
        int i = (int) mixture.rows().order().at(k).row();
        assertArrayEquals(ended(tokenizer, "Add %d and %d:".formatted(i, i)), source(pairs, k));
        assertArrayEquals(ended(tokenizer, "" + 2 * i), labels(pairs, k));
        assertEquals(pairs.targetLength(k), pairs.targets(k));
      }
    }
  }

  @Test
  void eachSideIsCutAtItsEndWhichStays() {
    try (Mixture mixture = load("  long: {path: long.jsonl}\n")) {
      PairSet pairs = mixture.rows().pairs();
      int eos = mixture.tokenizer().eosId();
      int[] whole = ended(mixture.tokenizer(), "begin" + " so".repeat(200) + "\n");
      for (int k = 0; k < 8; k++) {
        long row = mixture.rows().order().at(k).row();
        int[] source = source(pairs, k);
        int[] labels = labels(pairs, k);
        if (row == 2) {
          assertEquals(0, source.length + labels.length);
          continue;
        }
        assertEquals(eos, source[source.length - 1]);
        assertEquals(eos, labels[labels.length - 1]);
        if (row == 0) {
          assertEquals(SOURCE, source.length);
          assertArrayEquals(Arrays.copyOf(whole, SOURCE - 1), Arrays.copyOf(source, SOURCE - 1));
        }
        assertEquals(row == 1, labels.length == TARGET);
      }
      Losses losses = mixture.rows().losses();
      double eighth = losses.made(0) / 8.0;
      assertEquals(eighth, losses.emptyTarget(0), 1);
      assertEquals(2 * eighth, losses.truncated(0), 1);
      assertEquals(eighth, losses.targetTruncated(0), 1);
      assertEquals(0, losses.cutTarget(0));
      assertTrue(losses.tokensCut(0) > 100 * eighth, "cut " + losses.tokensCut(0));
    }
  }

  @Test
  void exemplarsStandInTheSourceAndFitIt() {
    String tasks = SUMS + "    shots: {count: 8, share: 1}\n";
    try (Mixture mixture = load(tasks, 64, TARGET, CacheFolder.none())) {
      PairSet pairs = mixture.rows().pairs();
      int most = 0;
      for (int k = 0; k < 50; k++) {
        int i = (int) mixture.rows().order().at(k).row();
        String text = mixture.tokenizer().decode(source(pairs, k));
        assertTrue(text.contains("Add %d and %d:".formatted(i, i)), text);
        assertTrue(pairs.sourceLength(k) <= 60, "15/16 of 64, got " + pairs.sourceLength(k));
        assertArrayEquals(ended(mixture.tokenizer(), "" + 2 * i), labels(pairs, k));
        most = Math.max(most, pairs.sourceLength(k));
      }
      assertTrue(most > 40, "exemplars fill the source: " + most);
      assertEquals(0, mixture.rows().losses().truncated(0));
    }
  }

  @Test
  void tokensKeepLabelsThatDoNotCount() {
    try (Mixture mixture = load("  tokens: {path: tokens.jsonl, format: tokens}\n")) {
      PairSet pairs = mixture.rows().pairs();
      assertArrayEquals(new int[] {40, 41, 42}, source(pairs, 0));
      assertArrayEquals(new int[] {Row.NO_TARGET, 43, Row.NO_TARGET, 44}, labels(pairs, 0));
      assertEquals(2, pairs.targets(0));
    }
  }

  @Test
  void textHasNoTarget() throws IOException {
    Files.writeString(folder.resolve("some.txt"), "some text\n");
    String message =
        assertThrows(UserError.class, () -> load("  some: {path: some.txt}\n")).getMessage();
    assertEquals(
        "task 'some': text has no target of its own, which an encoder-decoder needs", message);
  }

  @Test
  void stepsPackThemAndResumeAnywhere() {
    String tasks = SUMS + "  long: {path: long.jsonl}\n  tokens: {path: tokens.jsonl}\n";
    PairShape shape = new PairShape(2 * SOURCE, 2 * TARGET, SOURCE, TARGET, true, 2 * SOURCE, 0, 0);
    try (Mixture mixture = load(tasks);
        Mixture again = load(tasks)) {
      PairSource steps = source(mixture, shape, StepSize.examples(20));
      PairStep step = steps.newStep();
      steps.fill(0, step);
      steps.fill(step.nextK(), step);
      PairSource resumed = source(again, shape, StepSize.examples(20));
      PairStep same = resumed.newStep();
      resumed.fill(20, same);
      assertEquals(step.microBatches(), same.microBatches());
      int documents = 0;
      for (int b = 0; b < step.microBatches(); b++) {
        PairBatch batch = step.microBatch(b);
        assertArrayEquals(batch.sourceIds(), same.microBatch(b).sourceIds());
        assertArrayEquals(batch.targetInputs(), same.microBatch(b).targetInputs());
        assertArrayEquals(
            Arrays.copyOf(batch.targetIds(), batch.targets()),
            Arrays.copyOf(same.microBatch(b).targetIds(), same.microBatch(b).targets()));
        documents += batch.documents();
      }
      assertEquals(20 - empty(mixture.rows().pairs(), 20, 40), documents);
      PairStatistics packed = PairStatistics.of(steps, 4);
      assertTrue(packed.sourcePaddingShare() < 0.6, "" + packed.sourcePaddingShare());
      assertEquals(80 - empty(mixture.rows().pairs(), 0, 80), packed.documents());
    }
  }

  private static PairSource source(Mixture mixture, PairShape shape, StepSize size) {
    PairSet pairs = mixture.rows().pairs();
    return new PairSource(pairs, ExampleOrder.drawn(pairs.size()), size, shape);
  }

  private static long empty(PairSet pairs, int from, int to) {
    return IntStream.range(from, to).filter(k -> pairs.targetLength(k) == 0).count();
  }

  @Test
  void aStepOfTokensHasRoomForTheLongestPair() {
    PairShape shape = new PairShape(2 * SOURCE, 2 * TARGET, SOURCE, TARGET, true, 2 * SOURCE, 0, 0);
    try (Mixture mixture = load(SUMS + "  long: {path: long.jsonl}\n")) {
      String message =
          assertThrows(
                  UserError.class,
                  () -> source(mixture, shape, StepSize.tokens(SOURCE + TARGET - 1)))
              .getMessage();
      assertTrue(message.startsWith("train.tokens_per_step: got 59, needs at least"), message);
      PairSource steps = source(mixture, shape, StepSize.tokens(SOURCE + TARGET));
      PairStep step = steps.newStep();
      long last = 0;
      for (long s = steps.stepsOf(1); s > 0; s--) {
        last = step.nextK();
        steps.fill(step.nextK(), step);
        assertTrue(step.sourceTokens() + step.targetTokens() <= SOURCE + TARGET);
        assertTrue(step.nextK() > last, "a step takes an example");
      }
      assertTrue(last < 58 && step.nextK() >= 58, last + " to " + step.nextK());
    }
  }

  @Test
  void windowsOfPairsAreFoundInTheCache() {
    String tasks = SUMS + "  tokens: {path: tokens.jsonl}\n";
    for (int visit = 0; visit < 2; visit++) {
      CacheFolder cache = CacheFolder.at(folder.resolve("cache"), 0, note -> {});
      try (Mixture mixture = load(tasks, SOURCE, TARGET, cache);
          Mixture plain = load(tasks)) {
        PairSet pairs = mixture.rows().pairs();
        PairSet expected = plain.rows().pairs();
        for (int k = 0; k < 60; k++) {
          assertArrayEquals(source(expected, k), source(pairs, k));
          assertArrayEquals(labels(expected, k), labels(pairs, k));
        }
      }
    }
  }
}
