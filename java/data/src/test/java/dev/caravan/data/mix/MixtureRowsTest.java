package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.MixtureOrder;
import dev.caravan.data.source.Example;
import dev.caravan.data.task.DecodedRow;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MixtureRowsTest {
  @TempDir Path folder;
  private Path tokenizerFile;

  @BeforeEach
  void files() throws IOException {
    tokenizerFile = TestData.copy(folder, "/tokenizers/bpe.bin");
    write("sums.jsonl", 50, i -> "{\"q\": \"%d and %d\", \"a\": \"%d\"}".formatted(i, i, 2 * i));
    write("echo.jsonl", 9, i -> "{\"prompt\": \"say w%d\", \"target\": \"w%d\"}".formatted(i, i));
  }

  private interface Line {
    String of(int i);
  }

  private void write(String name, int rows, Line line) throws IOException {
    Files.writeString(
        folder.resolve(name),
        IntStream.range(0, rows).mapToObj(line::of).collect(Collectors.joining("\n")));
  }

  private static final String MIX =
      """
      tasks:
        sums:
          path: sums.jsonl
          format: record
          templates:
          - {prompt: "Add {q}:", target: " {a}"}
          - {prompt: "What is {q}?", target: " {a}"}
        echo: {path: echo.jsonl}
      mixtures:
        both: {parts: {sums: 0.75, echo: 0.25}}
      """;

  private Mixture load(String yaml, long seed) {
    return load(yaml, seed, 160);
  }

  private Mixture load(String yaml, long seed, int length) {
    MixtureSpec spec = MixtureFile.parse(yaml, "mix.yaml", path -> folder.resolve(path).toString());
    Tokenizer tokenizer = Tokenizers.open(tokenizerFile);
    return Mixture.load(
        spec, tokenizer, RowLimits.ofSequence(length, tokenizer.vocabSize()), seed, true);
  }

  private static String text(Mixture mixture, int k) {
    return DecodedRow.of(mixture.rows().row(k), mixture.tokenizer()).spans().stream()
        .map(span -> span.target() ? "[" + span.text() + "]" : span.text())
        .collect(Collectors.joining());
  }

  @Test
  void examplesAreWordedByTheirTask() {
    try (Mixture mixture = load(MIX, 3)) {
      Set<String> seen = new HashSet<>();
      int sums = 0;
      for (int k = 0; k < MixtureOrder.WINDOW; k++) {
        seen.add(text(mixture, k).strip());
        sums += mixture.rows().order().at(k).task() == 0 ? 1 : 0;
      }
      assertEquals(0.75 * MixtureOrder.WINDOW, sums, 2);
      // Every sum comes up in both phrasings, since each visit takes the next one.
      assertTrue(seen.contains("Add 7 and 7:[ 14]"), seen.toString());
      assertTrue(seen.contains("What is 7 and 7?[ 14]"), seen.toString());
      assertTrue(seen.contains("say w3\n[w3]"), seen.toString());
      assertEquals(2 * 50 + 9, seen.size());
      assertEquals(59, mixture.rows().size());
    }
  }

  @Test
  void superNaturalInstructionsShowTheirPositiveExamples() throws IOException {
    Files.writeString(
        folder.resolve("task.json"),
        """
        {"Definition": ["Say the last."],
         "Positive Examples": [{"input": "a b", "output": "b", "explanation": "e"},
                               {"input": "c d ", "output": "d"}, {"input": "e", "output": "e"}],
         "Instances": [{"input": "x y", "output": ["y"]}]}
        """);
    try (Mixture mixture =
        load("tasks: {t: {path: task.json, format: superni, templates: superni-2pos}}", 1)) {
      assertEquals(
          "Definition: Say the last.\n\nPositive Example 1 -\nInput: a b\nOutput: b\n\n"
              + "Positive Example 2 -\nInput: c d\nOutput: d\n\n"
              + "Now complete the following example -\nInput: x y\nOutput:[ y]",
          text(mixture, 0).strip());
    }
  }

  @Test
  void superNaturalInstructionsShowNegativeExamplesAndExplanations() throws IOException {
    Files.writeString(
        folder.resolve("task.json"),
        """
        {"Definition": "Say the last.",
         "Positive Examples": [{"input": "a b", "output": "b", "explanation": "It is last. "}],
         "Negative Examples": [{"input": "c d", "output": "c", "explanation": "It is first."},
                               {"input": "e f", "output": "g", "explanation": ""}],
         "Instances": [{"input": "x y", "output": ["y", "Y"]}]}
        """);
    String positive = "Definition: Say the last.\n\nPositive Example 1 -\nInput: a b\nOutput: b\n";
    String why = "Explanation: It is last.\n";
    String negative = "\nNegative Example 1 -\nInput: c d\nOutput: c\n";
    String whyNot = "Explanation: It is first.\n";
    String other = "\nNegative Example 2 -\nInput: e f\nOutput: g\n";
    String asked = "\nNow complete the following example -\nInput: x y\nOutput:[ y]";
    Map<String, String> expected =
        Map.of(
            "superni-2pos-explained",
            positive + why + asked,
            "superni-2pos-2neg",
            positive + negative + other + asked,
            "superni-2pos-2neg-explained",
            positive + why + negative + whyNot + other + asked);
    for (String template : expected.keySet()) {
      String yaml = "tasks: {t: {path: task.json, format: superni, templates: %s}}";
      try (Mixture mixture = load(yaml.formatted(template), 1, 600)) {
        assertEquals(expected.get(template), text(mixture, 0).strip());
      }
    }
  }

  /** All tasks of the public data, each by itself: no field is missing, no row is bad. */
  @Test
  void everyPublicTaskHasItsExamples() {
    String path = TestData.publicData("superni/tasks") + "/*.json";
    String yaml =
        "tasks: {s: {path: '%s', each_file: true, templates: superni-2pos-2neg-explained}}";
    MixtureSpec spec = MixtureFile.parse(yaml.formatted(path), "mix.yaml", p -> p);
    assertEquals(157, spec.trained().size());
    List<Example> all = new ArrayList<>();
    for (TaskSpec task : spec.trained()) {
      int before = all.size();
      new TaskReader(task, MixtureSpec.BadRows.STOP)
          .read(task.templates(), (example, file, line) -> all.add(example));
      String given = task.templates().get(0).exchange(all.get(before), "").orElseThrow().prompt();
      assertTrue(given.startsWith("Definition: "), given);
      assertTrue(given.contains("\n\nPositive Example 1 -\nInput: "), given);
      assertTrue(given.endsWith("\nOutput:"), given);
    }
    assertEquals(29_969, all.size());
  }

  /** FLAN's reasoning files in all their phrasings, plain, inverted, and with exemplars. */
  @Test
  void everyPublicReasoningFileCanBePhrased() {
    String path = TestData.publicData("flan_cot") + "/*.tsv";
    String yaml =
        "tasks: {cot: {path: '%s', each_file: true, shots: [0, 3], templates: [flan-cot-10,"
            + " flan-answer-10, flan-cot-to-question, flan-cot-to-reasoning, flan-cot-to-both]}}";
    try (Mixture mixture = load(yaml.formatted(path), 1, 700)) {
      assertEquals(20_458, LongStream.of(mixture.sizes()).sum());
      int reasoned = 0;
      for (int k = 0; k < 200; k++) {
        reasoned += text(mixture, k).contains("The answer is") ? 1 : 0;
      }
      assertTrue(reasoned > 50, reasoned + " of 200");
    }
  }

  @Test
  void reasoningDataIsInverted() throws IOException {
    Files.writeString(folder.resolve("cot.tsv"), "1 and 1?\t2\tcount on\n");
    Set<String> seen = new HashSet<>();
    String templates = "[flan-cot-to-question, flan-cot-to-reasoning, flan-cot-to-both]";
    try (Mixture mixture =
        load("tasks: {t: {path: cot.tsv, format: flan, templates: %s}}".formatted(templates), 1)) {
      for (int k = 0; k < MixtureOrder.WINDOW; k++) {
        String text = text(mixture, k);
        seen.add(text.substring(text.indexOf('[')));
      }
    }
    assertEquals(Set.of("[1 and 1?]", "[count on]", "[Q: 1 and 1?\nA: 2]"), seen);
  }

  @Test
  void anyExampleIsTheSameWithoutReplay() {
    try (Mixture one = load(MIX, 3);
        Mixture other = load(MIX, 3);
        Mixture otherSeed = load(MIX, 4)) {
      int differ = 0;
      for (int k = 40_000; k > 0; k -= 997) {
        Row row = one.rows().row(k);
        assertArrayEquals(row.inputIds(), other.rows().row(k).inputIds());
        assertArrayEquals(row.labels(), other.rows().row(k).labels());
        differ += text(one, k).equals(text(otherSeed, k)) ? 0 : 1;
      }
      assertTrue(differ > 20, differ + " differ under another seed");
      assertEquals(one.identity(), other.identity());
      assertNotEquals(one.identity(), otherSeed.identity());
    }
  }

  @Test
  void identityFollowsDataWordsAndRates() throws IOException {
    try (Mixture mixture = load(MIX, 3)) {
      for (String changed :
          new String[] {
            MIX.replace("Add", "add"),
            MIX.replace("0.25", "0.26"),
            MIX.replace("echo:", "ecko:").replace("echo: 0.25", "ecko: 0.25")
          }) {
        try (Mixture other = load(changed, 3)) {
          assertNotEquals(mixture.identity(), other.identity(), changed);
        }
      }
      write("echo.jsonl", 10, i -> "{\"prompt\": \"say w%d\", \"target\": \"w\"}".formatted(i));
      try (Mixture other = load(MIX, 3)) {
        assertNotEquals(mixture.identity(), other.identity());
      }
    }
  }

  @Test
  void stopPoliciesSayWhatAnEpochIs() {
    try (Mixture first = load("stop: first_exhausted\n" + MIX, 3);
        Mixture all = load("stop: all_exhausted\n" + MIX, 3)) {
      MixtureOrder order = first.rows().order();
      assertEquals(order.examplesUntil(1, 9), first.rows().size());
      assertEquals(order.examplesUntil(0, 50), all.rows().size());
    }
  }

  @Test
  void badRowsStopOrAreCounted() throws IOException {
    write(
        "echo.jsonl", 9, i -> i == 4 ? "{\"prompt\": 3" : "{\"prompt\": \"p\", \"target\": \"t\"}");
    UserError stop = assertThrows(UserError.class, () -> load(MIX, 3));
    assertTrue(stop.getMessage().contains("echo.jsonl:5: not valid JSON"), stop.getMessage());
    write("sums.jsonl", 9, i -> i == 4 ? "{\"q\": 3}" : "{\"q\": 1, \"a\": 2}");
    try (Mixture skip = load("bad_rows: skip\n" + MIX, 3)) {
      assertArrayEquals(new long[] {8, 8}, skip.sizes());
      assertArrayEquals(new long[] {1, 1}, skip.skipped());
      assertTrue(
          MixtureReport.of(skip, 100).table().contains("task echo: 1 bad rows left out"),
          MixtureReport.of(skip, 100).table().toString());
    }
  }

  @Test
  void aFieldThatTheFileDoesNotHaveIsRefusedWhenItIsRead() {
    String message =
        assertThrows(
                UserError.class,
                () -> load("bad_rows: skip\n" + MIX.replace("Add {q}", "Add {qq}"), 3))
            .getMessage();
    assertTrue(
        message.contains("sums.jsonl:1: template 'mix.yaml.tasks.sums.templates[0]'"), message);
    assertTrue(
        message.contains("'qq', did you mean 'q'?") || message.contains("known: a, q"), message);
  }

  @Test
  void otherSplitsAreNotTrainedOn() throws IOException {
    Files.createDirectory(folder.resolve("one"));
    write("one/train.jsonl", 3, i -> "{\"prompt\": \"p\", \"target\": \"t\"}");
    write("one/test.jsonl", 3, i -> "{\"prompt\": \"p\", \"target\": \"t\"}");
    String yaml = "tasks: {t: {path: %1$s/one%2$s, test: %1$s/one/test.jsonl}}";
    String both =
        assertThrows(UserError.class, () -> load(yaml.formatted(folder, ""), 3)).getMessage();
    assertEquals(
        "mix.yaml.tasks.t.path: "
            + folder
            + "/one/test.jsonl is of the split 'test' too; name the"
            + " training files alone",
        both);
    load(yaml.formatted(folder, "/train.jsonl"), 3).close();
  }

  @Test
  void whatATaskLacksIsSaidWithItsFilesAndItsName() throws IOException {
    write("sums.jsonl", 0, i -> "");
    String empty = assertThrows(UserError.class, () -> load(MIX, 3)).getMessage();
    assertEquals("task 'sums' has no rows in " + folder.resolve("sums.jsonl"), empty);
    write("sums.jsonl", 3, i -> "{\"q\": 1, \"a\": 2}");
    String chat = "tasks: {sums: {path: %s/sums.jsonl, format: record, templates: chatml}}";
    String token =
        assertThrows(UserError.class, () -> load(chat.formatted(folder), 3)).getMessage();
    assertTrue(token.startsWith("task 'sums': template 'chatml' needs the token <|im_"), token);
  }

  @Test
  void lossesAreCountedByTask() throws IOException {
    write(
        "echo.jsonl",
        4,
        i ->
            "{\"prompt\": \"%s\", \"target\": \"%s\"}"
                .formatted("so ".repeat(200), i == 0 ? " " : "t"));
    try (Mixture mixture = load(MIX, 3)) {
      mixture.rows().length(0);
      mixture.rows().length(1023);
      Losses losses = mixture.rows().losses();
      long made = losses.made(1);
      assertTrue(losses.emptyTarget(1) >= made / 4 - 1 && losses.emptyTarget(1) <= made / 4 + 1);
      assertEquals(made - losses.emptyTarget(1), losses.truncated(1));
      assertTrue(losses.tokensCut(1) > 70 * losses.truncated(1));
      assertEquals(0, losses.truncated(0));
    }
  }

  @Test
  void theReportHasRatesRepeatsAndTokenShares() {
    try (Mixture mixture = load(MIX, 3)) {
      MixtureReport report = MixtureReport.of(mixture, 1000);
      MixtureReport.Line sums = report.lines().get(0);
      assertEquals(0.75, sums.rate(), 1e-12);
      assertEquals(15, sums.repeats(), 1e-9);
      assertEquals(
          1, report.lines().stream().mapToDouble(MixtureReport.Line::tokenShare).sum(), 1e-9);
      assertTrue(report.table().get(0).contains("2 tasks"), report.table().get(0));
    }
  }
}
