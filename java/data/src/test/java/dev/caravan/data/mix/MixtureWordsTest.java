package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.MixtureOrder;
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
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Exemplars, answer options and phrases. */
class MixtureWordsTest {
  private static final int LENGTH = 400;
  private static final int ROWS = 40;

  @TempDir Path folder;
  private Path tokenizerFile;

  @BeforeEach
  void files() throws IOException {
    tokenizerFile = TestData.copy(folder, "/tokenizers/bpe.bin");
    write("train", i -> "{\"q\": \"q%d\", \"a\": \"t%d\"}".formatted(i, i));
    write("test", i -> "{\"q\": \"x%d\", \"a\": \"y%d\"}".formatted(i, i));
    write(
        "choice",
        i ->
            "{\"q\": \"q%d\", \"c\": [\"red\", \"blue\", \"green\"], \"a\": \"%s\"}"
                .formatted(i, List.of("red", "blue", "green").get(i % 3)));
  }

  private interface Line {
    String of(int i);
  }

  private void write(String name, Line line) throws IOException {
    Files.writeString(
        folder.resolve(name + ".jsonl"),
        IntStream.range(0, ROWS).mapToObj(line::of).collect(Collectors.joining("\n")));
  }

  private Mixture load(String yaml, long seed) {
    MixtureSpec spec = MixtureFile.parse(yaml, "mix.yaml", path -> folder.resolve(path).toString());
    Tokenizer tokenizer = Tokenizers.open(tokenizerFile);
    return Mixture.load(
        spec, tokenizer, RowLimits.ofSequence(LENGTH, tokenizer.vocabSize()), seed, true);
  }

  /** The words of the first examples, targets in brackets. */
  private static List<String> texts(Mixture mixture, int count) {
    List<String> texts = new ArrayList<>();
    for (int k = 0; k < count; k++) {
      texts.add(
          DecodedRow.of(mixture.rows().row(k), mixture.tokenizer()).spans().stream()
              .map(span -> span.target() ? "<<" + span.text() + ">>" : span.text())
              .collect(Collectors.joining()));
    }
    return texts;
  }

  private List<String> texts(String yaml) {
    try (Mixture mixture = load(yaml, 3)) {
      return texts(mixture, MixtureOrder.WINDOW);
    }
  }

  private void refused(String yaml, String... parts) {
    String message = assertThrows(UserError.class, () -> load(yaml, 3)).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
    assertEquals(1, message.lines().count(), message);
  }

  private static String shots(String shots) {
    return """
        tasks:
          t:
            path: train.jsonl
            test: test.jsonl
            format: record
            templates: {prompt: "Q {q}\\nA", target: " {a}"}
            shots: %s
        """
        .formatted(shots);
  }

  private static List<String> found(String regex, String text) {
    List<String> all = new ArrayList<>();
    Matcher matcher = Pattern.compile(regex).matcher(text);
    while (matcher.find()) {
      all.add(matcher.group(1));
    }
    return all;
  }

  @Test
  void exemplarsAreOtherRowsOfTheTrainingSplit() {
    Set<Integer> counts = new TreeSet<>();
    Set<String> firsts = new HashSet<>();
    for (String text : texts(shots("{count: [0, 4], share: 1}"))) {
      List<String> asked = found("Q q(\\d+)\n", text);
      List<String> answered = found("A t(\\d+)\n", text);
      String own = asked.get(asked.size() - 1);
      assertEquals(asked.subList(0, asked.size() - 1), answered, text);
      assertEquals(asked.size(), new HashSet<>(asked).size(), "twice the same: " + text);
      assertTrue(text.contains("Q q" + own + "\nA<< t" + own + ">>"), text);
      assertFalse(text.contains("x") || text.contains("y"), "of another split: " + text);
      counts.add(answered.size());
      firsts.add(asked.get(0));
    }
    assertEquals(Set.of(0, 1, 2, 3, 4), counts);
    assertTrue(firsts.size() > ROWS / 2, firsts.toString());
  }

  @Test
  void halfOfTheExamplesHaveThem() {
    long few = texts(shots("2")).stream().filter(text -> text.contains("\n\n")).count();
    // Binomial: four standard deviations of 1,024 fair coins.
    assertEquals(MixtureOrder.WINDOW / 2.0, few, 64);
    assertEquals(
        0, texts(shots("{count: 2, share: 0}")).stream().filter(t -> t.contains("\n\n")).count());
  }

  @Test
  void rowsThatAskTheSameAreNoExemplars() throws IOException {
    write("train", i -> "{\"q\": \"q%d\", \"a\": \"t%d\"}".formatted(i % 2, i));
    for (String text : texts(shots("{count: 3, share: 1}"))) {
      List<String> asked = found("Q q(\\d+)\n", text);
      String own = asked.remove(asked.size() - 1);
      assertFalse(asked.contains(own), text);
    }
  }

  @Test
  void theyArePrunedToFit() {
    String yaml = shots("{count: 12, share: 1, tokens: 60}");
    int most = 0;
    try (Mixture mixture = load(yaml, 3)) {
      for (int k = 0; k < MixtureOrder.WINDOW; k++) {
        int prompt = mixture.rows().length(k) - mixture.rows().targets(k);
        assertTrue(prompt <= 60, prompt + " tokens");
        most = Math.max(most, prompt);
      }
      assertEquals(0, mixture.rows().losses().truncated(0));
      MixtureReport.Line line = MixtureReport.of(mixture, 100).lines().get(0);
      assertTrue(line.exemplars() > 3 && line.exemplars() < 9, line.toString());
      assertEquals(1 - line.exemplars() / 12, line.exemplarsLeftOut(), 1e-9);
      // The room is used: one more exemplar would not have fitted.
      assertTrue(most > 50, most + " tokens");
      assertTrue(found("Q q(\\d+)\n", texts(mixture, 1).get(0)).size() > 3);
    }
    try (Mixture mixture = load(shots("{count: 12, share: 1, tokens: 3}"), 3)) {
      assertEquals(1, found("Q q(\\d+)\n", texts(mixture, 1).get(0)).size(), "none fits");
    }
  }

  @Test
  void theyArePureFunctionsOfSeedAndNumber() {
    String yaml = shots("{count: [1, 5], delimiters: flan}");
    try (Mixture one = load(yaml, 3);
        Mixture other = load(yaml, 3);
        Mixture otherSeed = load(yaml, 4);
        Mixture otherShots = load(yaml.replace("[1, 5]", "[1, 6]"), 3)) {
      for (int k = 30_000; k > 0; k -= 9_977) {
        assertArrayEquals(one.rows().row(k).inputIds(), other.rows().row(k).inputIds());
      }
      assertNotEquals(texts(one, 50), texts(otherSeed, 50));
      assertEquals(one.identity(), other.identity());
      assertNotEquals(one.identity(), otherShots.identity());
    }
  }

  @Test
  void delimitersAreThePapersOrTheTasksOwn() {
    String flan = shots("{count: 1, share: 1, delimiters: flan}");
    Set<String> between = new HashSet<>();
    for (String text : texts(flan)) {
      between.addAll(found("Q q\\d+\nA(\n[^<]*?)t\\d+\n", text));
      assertTrue(text.endsWith(">>"), text);
    }
    assertTrue(between.contains("\n-----\nAnswer:\n"), between.toString());
    assertTrue(between.contains("\n****\n"), between.toString());
    String own =
        shots(
            "{count: 1, share: 1, delimiters: [{input: 'I ', between: ' | ', target: 'O ', separator: ' # '}]}");
    for (String text : texts(own)) {
      assertTrue(
          text.strip().matches("I Q q\\d+\nA \\| O t\\d+ # I Q q\\d+\nA \\| O<< t\\d+>>"), text);
    }
  }

  @Test
  void aTemplateSaysWhereTheyStand() {
    String yaml =
        """
        tasks:
          t:
            path: train.jsonl
            format: record
            templates: {prompt: "Do it.\\n{shots}In {q} out", exemplar: "Eg {q} out", target: " {a}"}
            shots: {count: 1, share: 1}
        """;
    for (String text : texts(yaml)) {
      assertTrue(
          text.strip().matches("Do it.\nEg q\\d+ out t\\d+\n\n\n?In q\\d+ out<< t\\d+>>"), text);
    }
  }

  @Test
  void patternsCanBeSpokenInChat() {
    String yaml = shots("{count: 1, share: 1}").replace("shots:", "chat: dialog\n    shots:");
    for (String text : texts(yaml)) {
      assertTrue(
          text.strip().matches("User: Q q\\d+\nA t\\d+\n\n\n?Q q\\d+\nA\nAssistant:<< t\\d+>>"),
          text);
    }
    refused(
        yaml.replace("dialog", "qa"),
        "tasks.t.chat",
        "'qa' is not one for conversations",
        "chatml");
    refused(yaml.replace("dialog", "dialogue"), "tasks.t.chat", "did you mean 'dialog'?");
    refused(yaml.replaceAll("templates: .*", ""), "tasks.t.chat: needs templates");
  }

  private static String choice(String options) {
    return """
        tasks:
          t:
            path: choice.jsonl
            format: record
            templates: {prompt: "{q}\\n{options}\\nSo", target: " {a}"}
            options: {%s}
        """
        .formatted(options);
  }

  @Test
  void optionsAreListedAndTheTargetIsTheLabel() {
    String text =
        texts(choice("fields: c, answer: a, styles: '(A)', headers: 'OPTIONS:'")).stream()
            .filter(t -> t.contains("q4\n"))
            .findFirst()
            .orElseThrow();
    assertEquals("q4\nOPTIONS:\n(A) red\n(B) blue\n(C) green\nSo<< (B)>>", text.strip());
    for (String other :
        texts(choice("list: [green, red, blue], answer: a, styles: ['-'], headers: 'OPTIONS:'"))) {
      assertTrue(
          other.strip().matches("q\\d+\nOPTIONS:\n- green\n- red\n- blue\nSo<< (red|blue|green)>>"),
          other);
    }
    for (String said : texts(choice("fields: c, answer: a, styles: ['1.'], target: text"))) {
      assertTrue(said.contains("\n2. blue\n") && said.matches("(?s).*<< (red|blue|green)>>"), said);
    }
  }

  @Test
  void stylesAreMixedAndSomeExamplesShowNone() {
    Set<String> labels = new TreeSet<>();
    int without = 0;
    for (String text : texts(choice("fields: c, answer: a, share: 0.5"))) {
      String row = found("q(\\d+)\n", text).get(0);
      String said = found("<< ([^>]*)>>", text).get(0);
      String right = List.of("red", "blue", "green").get(Integer.parseInt(row) % 3);
      if (text.strip().equals("q" + row + "\nSo<< " + right + ">>")) {
        without++;
        continue;
      }
      labels.add(said);
      // What is said names the right line of the list.
      assertTrue(
          said.equals(right) || found("\n(.*) " + right + "\n", text).get(0).contains(said), text);
    }
    assertTrue(labels.containsAll(Set.of("(A)", "B", "c", "3", "[B]", "red")), labels.toString());
    assertEquals(MixtureOrder.WINDOW / 2.0, without, 64);
  }

  @Test
  void exemplarsHaveTheStyleOfTheirExample() {
    for (String text :
        texts(choice("fields: c, answer: a") + "    shots: {count: 2, share: 1}\n")) {
      List<String> marks = found("\n(?!So)(.*) blue\n", text);
      assertEquals(3, marks.size(), text);
      assertEquals(1, new HashSet<>(marks).size(), text);
    }
  }

  @Test
  void answersAreIndicesOrLetters() throws IOException {
    write(
        "choice",
        i ->
            "{\"q\": \"q%d\", \"c0\": \"no\", \"c1\": \"yes\", \"a\": %d, \"l\": \"(%s)\"}"
                .formatted(i, i % 2, "AB".charAt(i % 2)));
    String index = "fields: [c0, c1], answer: a, answer_is: index, styles: ['A.'], headers: H";
    assertTrue(
        texts(choice(index)).stream().anyMatch(t -> t.endsWith("q5\nH\nA. no\nB. yes\nSo<< B>>")));
    String letter =
        choice(index.replace("answer: a", "answer: l").replace("index", "letter"))
            .replace("{a}", "{l}");
    assertEquals(texts(choice(index)), texts(letter));
  }

  @Test
  void answersThatAreNoOptionAreBadRows() throws IOException {
    write(
        "choice",
        i -> "{\"q\": 1, \"c\": [\"x\", \"y\"], \"a\": \"%s\"}".formatted(i == 7 ? "z" : "x"));
    String yaml = choice("fields: c, answer: a");
    refused(yaml, "choice.jsonl:8: field 'a' is 'z'", "x | y");
    try (Mixture mixture = load("bad_rows: skip\n" + yaml, 3)) {
      assertArrayEquals(new long[] {1}, mixture.skipped());
    }
    refused(choice("fields: cc, answer: a"), "choice.jsonl:1: no field 'cc'");
  }

  @Test
  void reasoningHasTenPhrasingsAndTriggers() throws IOException {
    Files.writeString(folder.resolve("cot.tsv"), "q1\ta1\tr1\nq2\ta2\tr2\n");
    Set<String> seen =
        new HashSet<>(
            texts(
                "tasks: {t: {path: cot.tsv, format: flan, templates: flan-cot-10, choose: random}}"));
    assertTrue(seen.size() > 150, seen.size() + " of 200 wordings");
    for (String text : seen) {
      assertTrue(text.matches("(?s).*<<\\s?r(\\d)\\s?The answer is a\\1\\.>>"), text);
    }
    assertTrue(seen.stream().anyMatch(text -> text.contains("Let's think step by step.")));
    Set<String> direct =
        new HashSet<>(
            texts("tasks: {t: {path: cot.tsv, format: flan, templates: flan-answer-10}}"));
    assertEquals(20, direct.size(), direct.toString());
    assertTrue(direct.stream().allMatch(text -> text.matches("(?s).*<<\\s?a\\d>>")));
    String own =
        "tasks: {t: {path: cot.tsv, format: flan, templates: {prompt: '{question}{please}', target: '{answer}'},"
            + " phrases: {please: [' please', ' now']}}}";
    assertTrue(texts(own).stream().anyMatch(text -> text.endsWith("q1 please<<a1>>")));
  }

  /** However phrasings are chosen, and however few rows there are. */
  @Test
  void everyPhrasingIsShownOnce() throws IOException {
    Files.writeString(folder.resolve("few.tsv"), "q1\ta1\tr1\nq2\ta2\tr2\nq3\t\t\n");
    for (String choose : List.of("random", "round_robin")) {
      String yaml = "tasks: {t: {path: few.tsv, format: flan, templates: flan-cot-10, choose: %s}}";
      try (Mixture mixture = load(yaml.formatted(choose), 3)) {
        assertEquals(
            IntStream.rangeClosed(1, 10).mapToObj(i -> "flan-cot-" + i).toList(),
            mixture.phrasings(0, 20).stream().map(Mixture.Phrased::template).toList());
        assertEquals(4, mixture.phrasings(0, 4).size());
      }
    }
  }

  @Test
  void refusesWhatCannotBe() throws IOException {
    refused(shots("0"), "tasks.t.shots: got 0");
    refused(shots("[3, 2]"), "tasks.t.shots: got [3,2]");
    refused(shots("{count: 2, share: 1.5}"), "shots.share");
    refused(shots("{count: 2, share: NaN}"), "shots.share");
    refused(shots("{count: 2, delimiters: flam}"), "template, flan, or a list");
    refused(shots("{share: 1}"), "shots.count: missing");
    refused(shots("{cuont: 2}"), "did you mean 'count'?");
    refused(
        shots("2").replace("{prompt: \"Q {q}\\nA\", target: \" {a}\"}", "chatml"),
        "template 'chatml'");
    refused(choice("fields: c, list: [a, b], answer: a"), "either fields");
    refused(choice("list: [yes, no], answer: a"), "options.list: got [true,false]", "quote them");
    refused(choice("fields: c"), "options.answer: missing");
    refused(choice("fields: c, answer: a").replace("{options}", ""), "no template", "{options}");
    refused(choice("fields: c, answer: a, styles: [x]"), "options.styles");
    refused(shots("2") + "    phrases: {p: [a]}\n", "phrases.p: no template");
    Files.writeString(
        folder.resolve("a.json"),
        "{\"Definition\": [\"d\"], \"Instances\": [{\"input\": \"i\", \"output\": [\"o\"]}]}");
    Files.copy(folder.resolve("a.json"), folder.resolve("b.json"));
    refused("tasks: {t: {path: '*.json', format: superni, shots: 1}}", "each_file: true");
  }
}
