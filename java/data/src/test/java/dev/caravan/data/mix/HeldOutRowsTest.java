package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.Row;
import dev.caravan.data.TestData;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The options of held-out rows are said as the rows' own answers are. */
class HeldOutRowsTest {
  private static final List<String> COLOURS = List.of("red", "blue", "dark green");
  private static final int ROWS = 12;

  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void files() throws IOException {
    tokenizer = Tokenizers.open(TestData.copy(folder, "/tokenizers/bpe.bin"));
    Files.writeString(
        folder.resolve("choice.jsonl"),
        IntStream.range(0, ROWS)
            .mapToObj(
                i ->
                    "{\"q\": \"q%d\", \"c\": [\"red\", \"blue\", \"dark green\"], \"a\": \"%s\"}"
                        .formatted(i, COLOURS.get(i % 3)))
            .collect(Collectors.joining("\n")));
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private HeldOutRows held(String keys, int maxTokens, int most) {
    String yaml =
        """
        tasks:
          t: {path: choice.jsonl}
          h:
            path: choice.jsonl
            format: record
            templates: {prompt: "{q}\\n{options}\\nA", target: " {a}"}
            %s
        held_out: [h]
        """
            .formatted(keys.replace("\n", "\n    "));
    return of(yaml, maxTokens, most);
  }

  private HeldOutRows of(String yaml, int maxTokens, int most) {
    MixtureSpec spec = MixtureFile.parse(yaml, "mix.yaml", path -> folder.resolve(path).toString());
    RowLimits limits = RowLimits.ofSequence(maxTokens, tokenizer.vocabSize());
    return Mixture.heldOut(spec, tokenizer, limits, 5, most).get("h");
  }

  /** What a row says behind its prompt, without the end token. */
  private static int[] answer(Row row) {
    int[] targets = Arrays.stream(row.labels()).filter(label -> label >= 0).toArray();
    return Arrays.copyOf(targets, targets.length - 1);
  }

  private void saysItsRightOption(HeldOutRows held, int count) {
    assertEquals(count, held.choices().size());
    for (int row = 0; row < count; row++) {
      AnswerChoice choice = held.choices().get(row);
      assertEquals(3, choice.ids().length);
      assertEquals(row % 3, choice.right());
      assertArrayEquals(answer(held.rows().row(row)), choice.ids()[choice.right()]);
      assertEquals(3, choice.texts().stream().distinct().count(), choice.texts().toString());
    }
  }

  @Test
  void labelsAreRankedWhereTheTargetIsOne() {
    HeldOutRows held =
        held(
            "options: {fields: c, answer: a, styles: [\"(A)\"]}\nmetrics: [accuracy_per_token]",
            200,
            ROWS);
    saysItsRightOption(held, ROWS);
    assertEquals(List.of("(A)", "(B)", "(C)"), held.choices().get(4).texts());
    assertEquals(0, held.tooLong());
  }

  @Test
  void everyStyleAndExemplarsKeepTheAnswersOfTraining() {
    for (String style : List.of("", ", styles: [\"-\"]", ", share: 0.5", ", target: text")) {
      String options = "options: {fields: c, answer: a%s}\n".formatted(style);
      saysItsRightOption(held(options + "metrics: [accuracy]", 200, ROWS), ROWS);
      saysItsRightOption(
          held(options + "shots: {count: 1, share: 1}\nmetrics: [accuracy]", 300, ROWS), ROWS);
    }
    HeldOutRows texts =
        held("options: {fields: c, answer: a, target: text}\nmetrics: [accuracy]", 200, 1);
    assertEquals(COLOURS, texts.choices().get(0).texts());
  }

  @Test
  void alternativesAreSaidInTheWordsOfTheRow() throws IOException {
    Files.writeString(
        folder.resolve("task.json"),
        """
        {"Definition": ["d"], "Instances": [{"input": "i", "output": ["red", "blue", ""]}, \
        {"input": "j", "output": "dark"}]}""");
    String yaml =
        """
        tasks:
          t: {path: choice.jsonl}
          h:
            path: task.json
            format: superni
            templates: {prompt: "{input}", target: "It is {target}."}%s
        held_out: [h]
        """;
    assertEquals(
        List.of(List.of("It is blue."), List.of()),
        of(yaml.formatted("\n    metrics: [rouge_l]"), 200, 5).alternatives());
    assertEquals(List.of(), of(yaml.formatted(""), 200, 5).alternatives());
  }

  /** The first row fits whole, but would not with the longest of its options. */
  @Test
  void aRowThatDoesNotFitWithEveryOptionIsCounted() throws IOException {
    String line = "{\"q\": \"%s\", \"c\": [\"red\", \"dark green\"], \"a\": \"red\"}\n";
    Files.writeString(
        folder.resolve("choice.jsonl"),
        line.formatted("qq") + line.formatted("q") + line.formatted("q") + line.formatted("qq"));
    String options = "options: {fields: c, answer: a, target: text, share: 0}\n";
    HeldOutRows all = held(options + "metrics: [accuracy]", 200, 4);
    assertEquals(4, all.rows().size());
    int prompt = all.rows().length(1) - all.rows().targets(1);
    int enough = prompt + all.choices().get(1).longest();
    assertEquals(4, held(options + "metrics: [rouge_l]", enough, 4).rows().size());
    HeldOutRows ranked = held(options + "metrics: [accuracy]", enough, 4);
    assertEquals(2, ranked.rows().size());
    assertEquals(2, ranked.choices().size());
    assertEquals(2, ranked.tooLong());
    assertEquals(1, held(options + "metrics: [accuracy]", enough, 1).tooLong());
  }
}
