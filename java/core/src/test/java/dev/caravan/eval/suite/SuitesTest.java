package dev.caravan.eval.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Benchmarks are read as their makers wrote them, and put as their papers do. */
class SuitesTest {
  @TempDir static Path root;

  @TempDir Path other;

  @BeforeAll
  static void write() {
    Fixtures.write(root);
  }

  private static SuiteOptions shots(int shots) {
    return new SuiteOptions(
        Optional.empty(),
        OptionalInt.of(shots),
        OptionalInt.empty(),
        Optional.empty(),
        OptionalInt.empty());
  }

  private static SuiteOptions split(String split) {
    return new SuiteOptions(
        Optional.of(split),
        OptionalInt.empty(),
        OptionalInt.empty(),
        Optional.empty(),
        OptionalInt.empty());
  }

  private static List<Paper> read(String suite, SuiteOptions options) {
    return Suites.named(suite).read(root, options);
  }

  private static Paper one(String suite) {
    List<Paper> papers = read(suite, SuiteOptions.usual());
    assertEquals(1, papers.size());
    return papers.get(0);
  }

  private static void refused(String part, Runnable what) {
    UserError e = assertThrows(UserError.class, what::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void mmluHasFiveExemplarsOfTheSubject() {
    Paper paper = one("mmlu");
    assertEquals("mmlu_test", paper.name());
    assertEquals(5, paper.shots());
    assertEquals(Paper.Mean.OF_GROUPS, paper.mean());
    assertEquals(3, paper.questions().size());
    Question.Choice sum = (Question.Choice) paper.questions().get(1);
    assertEquals("small_sums", sum.group());
    assertEquals(2, sum.answer());
    String text = sum.prompt().text();
    assertTrue(
        text.startsWith(
            "The following are multiple choice questions (with answers) about small sums.\n\n"
                + "What is 0 + 1?\nA. 0\nB. 1\nC. 2\nD. a, b\nAnswer: A\n\nWhat is 1 + 1?"),
        text);
    assertTrue(
        text.endsWith("Answer: A\n\nWhich is \"three\",\nif any?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"),
        text);
    Question.Choice grass = (Question.Choice) paper.questions().get(0);
    assertEquals(2, grass.answer());
    assertEquals(" C", grass.options().get(2).text());
  }

  @Test
  void mmlusSplitsAreToldApart() {
    Paper validation = read("mmlu", split("validation")).get(0);
    assertEquals("mmlu_validation", validation.name());
    assertEquals("validation", validation.split());
    assertEquals(1, validation.questions().size());
    refused("needs test, validation or dev", () -> read("mmlu", split("train")));
    refused("5 exemplars, needs 6", () -> read("mmlu", shots(6)));
  }

  private static SuiteOptions reasoning(OptionalInt shots) {
    return new SuiteOptions(
        Optional.empty(),
        shots,
        OptionalInt.empty(),
        Optional.of(SuiteOptions.Reasoning.COT),
        OptionalInt.empty());
  }

  private static void writeReasoned(Path folder, String sums) throws IOException {
    Files.writeString(
        folder.resolve("mmlu/mmlu-cot.json"),
        "{\"small_sums\": \"%s\", \"colours\": \"%s\"}"
            .formatted(sums, "About colours." + exemplar("Sky?", 'B').repeat(6)));
  }

  private static String exemplar(String question, char letter) {
    return "\\n\\nQ: %s\\n(A) 1 (B) 2 (C) 3 (D) 4\\nA: Let's think step by step. So the answer is (%s)."
        .formatted(question, letter);
  }

  @Test
  void mmluWithReasoningHasExemplarsThatReason() throws IOException {
    Fixtures.write(other);
    writeReasoned(other, "About sums." + exemplar("1 + 1?", 'B').repeat(5));
    List<Paper> papers = Suites.named("mmlu").read(other, SuiteOptions.usual());
    assertEquals(List.of("mmlu_test", "mmlu_cot_test"), papers.stream().map(Paper::name).toList());
    Paper paper = papers.get(1);
    assertEquals(5, paper.shots());
    assertEquals(List.of(), paper.notes());
    Question.Open sum = (Question.Open) paper.questions().get(2);
    assertEquals(List.of("A"), sum.references());
    assertEquals(0.25, sum.chance());
    String shown =
        "Q: 1 + 1?\n(A) 1 (B) 2 (C) 3 (D) 4\nA: Let's think step by step. So the answer is (B).\n\n";
    assertEquals(
        "About sums.\n\n"
            + shown.repeat(5)
            + "Q: What is 4 - 4?\n(A) 0 (B) 1 (C) 2 (D) 3\nA: Let's think step by step.",
        sum.prompt().text());
    Scoring.Metric metric = ((Scoring.Writing) paper.scoring()).metrics().get(0);
    assertEquals(Optional.of("C"), metric.extraction().of(" Thus. The answer is (C). Q: b"));
    assertEquals(Optional.empty(), metric.extraction().of(" It is C."));
  }

  @Test
  void mmluWithReasoningSaysWhatItsExemplarsLack() throws IOException {
    Suite mmlu = Suites.named("mmlu");
    refused(
        "mmlu-cot.json: no such file; it should hold exemplars with reasoning",
        () -> mmlu.read(root, reasoning(OptionalInt.empty())));
    Paper without = mmlu.read(root, reasoning(OptionalInt.of(0))).get(0);
    assertEquals(0, without.shots());
    assertTrue(
        without
            .questions()
            .get(0)
            .prompt()
            .text()
            .startsWith(
                "The following are multiple choice questions (with answers) about colours.\n\nQ: G"));
    Fixtures.write(other);
    writeReasoned(other, "About sums." + exemplar("1 + 1?", 'B').repeat(4));
    assertEquals(
        List.of("fewer than 5 exemplars: small_sums (4)"),
        mmlu.read(other, reasoning(OptionalInt.empty())).get(0).notes());
    refused(
        "there are 4 exemplars (small_sums)", () -> mmlu.read(other, reasoning(OptionalInt.of(5))));
    writeReasoned(other, "About sums.\\n\\nQ: 1 + 1?\\nA: 2");
    refused(
        "'small_sums', exemplar 1: needs 'A: Let's think step by step.'",
        () -> mmlu.read(other, reasoning(OptionalInt.empty())));
    Files.writeString(other.resolve("mmlu/mmlu-cot.json"), "{\"small_sums\": \"a\"}");
    refused("no text 'colours'", () -> mmlu.read(other, reasoning(OptionalInt.of(1))));
  }

  @Test
  void aMissingFileIsNamedWithWhatItShouldHold() throws IOException {
    Fixtures.write(other);
    Files.delete(other.resolve("mmlu/dev/colours_dev.csv"));
    refused(
        "colours_dev.csv: no such file; it should hold the exemplars of colours",
        () -> Suites.named("mmlu").read(other, SuiteOptions.usual()));
    refused(
        "/mmlu/test: no such folder",
        () -> {
          try {
            Files.move(other.resolve("mmlu/test"), other.resolve("mmlu/gone"));
          } catch (IOException e) {
            throw new IllegalStateException(e);
          }
          Suites.named("mmlu").read(other, SuiteOptions.usual());
        });
    refused(
        "no such file or folder",
        () -> Suites.named("hellaswag").read(other.resolve("nowhere"), SuiteOptions.usual()));
    refused("did you mean 'mmlu'", () -> Suites.named("mmul"));
  }

  @Test
  void aMalformedRowIsNamed() throws IOException {
    Path folder = Files.createDirectories(other.resolve("hellaswag"));
    Files.writeString(folder.resolve("val.txt"), "A: b\n1\nc\nd\ne\nf\nG: h\n4\n");
    refused(
        "val.txt:8: got '4', needs the right ending's index, 0 to 3",
        () -> Suites.named("hellaswag").read(other, SuiteOptions.usual()));
    Files.writeString(folder.resolve("val.txt"), "A: b\n1\nc\nd\n");
    refused(
        "val.txt:1: the file ends within this item",
        () -> Suites.named("hellaswag").read(other, SuiteOptions.usual()));
    Path rte = Files.createDirectories(other.resolve("RTE"));
    Files.writeString(rte.resolve("labels.json"), "[\"no\", \"yes\"]");
    Files.writeString(
        rte.resolve("test.json"),
        "[{\"sentence\": \"a\", \"label\": \"no\"},\n{\"sentence\": \"a\"}]");
    refused(
        "test.json:2: no text 'label'",
        () -> Suites.named("rte").read(other, SuiteOptions.usual()));
  }

  /** What a benchmark's file must not say: each would be a wrong score, and none stops a reader. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "hellaswag | hellaswag/val.jsonl | {\"activity_label\": \"a\", \"ctx\": \"b\", \"endings\": [\"c\"],"
            + " \"label\": 0} | val.jsonl:1: the answer is option 1 of 1; needs one of at least 2",
        "boolq | boolq/dev.jsonl | {\"question\": \"q\", \"passage\": \"p\", \"answer\": \"yes\"}"
            + " | dev.jsonl:1: 'answer' is 'yes', needs true or false",
        "aqua | math/AQuA.json | [{\"sQuestion\": \"q\", \"options\": [\"A)1\", \" \"], \"lSolutions\": \"A\"}]"
            + " | AQuA.json:1: an option without text",
        "addsub | math/AddSub.json | [{\"sQuestion\": \"q\", \"lSolutions\": []}]"
            + " | AddSub.json:1: the answer is '', needs a number",
        "gsm8k | gsm8k/test.jsonl | {\"question\": \"q\", \"answer\": \"#### two\"}"
            + " | test.jsonl:1: the answer is 'two', needs a number",
        "bbh | bbh/tasks/counting.json | {\"examples\": []} | counting.json:1: 'examples' is empty",
        "superni | superni/tasks/task1_names.json | {\"Definition\": \"d\", \"Instances\": []}"
            + " | task1_names.json:1: 'Instances' is empty",
        "mmlu | mmlu/test/colours_test.csv | `Grass?,red,blue,green,C` | colours_test.csv:1: 5 fields,"
            + " needs 6: question, choice0",
        "mmlu | mmlu/test/colours_test.csv | `question,choice0,choice1,choice2,choice3,answer`"
            + " | colours_test.csv: no row behind the header",
      })
  void whatCannotBeScoredIsNamed(String suite, String file, String content, String message)
      throws IOException {
    Fixtures.write(other);
    Files.createDirectories(other.resolve(file).getParent());
    Files.writeString(other.resolve(file), content);
    refused(message, () -> Suites.named(suite).read(other, SuiteOptions.usual()));
  }

  @Test
  void bbhsDirectExemplarsAreThoseWithoutTheThought() {
    List<Paper> papers = read("bbh", SuiteOptions.usual());
    assertEquals(List.of("bbh_direct", "bbh_cot"), papers.stream().map(Paper::name).toList());
    assertEquals(
        "Count things.\n\nQ: 1 and none?\nA: 1\n\nQ: 2 and none?\nA: 2\n\nQ: 3 and none?\nA: 3\n\n"
            + "Q: One and one?\nA:",
        papers.get(0).questions().get(0).prompt().text());
    String cot = papers.get(1).questions().get(1).prompt().text();
    assertTrue(
        cot.contains("A: Let's think step by step.\nThere are 2. So the answer is 2.\n\nQ: 3"),
        cot);
    assertTrue(cot.endsWith("Q: Two and two?\nA: Let's think step by step."), cot);
  }

  @Test
  void mgsmWantsExemplarsOfEachLanguage() throws IOException {
    Paper paper = one("mgsm");
    assertEquals(8, paper.shots());
    assertEquals(List.of("en"), paper.excluded());
    Question.Open german = (Question.Open) paper.questions().get(0);
    assertTrue(
        german.prompt().text().startsWith("Frage: Drei und 0?\nSchritt-für-Schritt-Antwort: Drei"));
    assertEquals(List.of("1001"), ((Question.Open) paper.questions().get(2)).references());
    Fixtures.write(other);
    Files.delete(other.resolve("mgsm/exemplars_de.tsv"));
    refused(
        "no exemplars_XX.tsv (question, worked answer) for de",
        () -> Suites.named("mgsm").read(other, SuiteOptions.usual()));
    Files.delete(other.resolve("mgsm/exemplars_en.tsv"));
    Paper without = Suites.named("mgsm").read(other, SuiteOptions.usual()).get(0);
    assertEquals(0, without.shots());
    assertTrue(without.notes().get(0).contains("instead of 8 shots"), without.notes().get(0));
    refused("--shots 0", () -> Suites.named("mgsm").read(other, shots(8)));
  }

  @Test
  void tydiqaShowsAnExemplarOfTheSameLanguage() {
    Paper paper = one("tydiqa");
    assertEquals(1, paper.shots());
    assertEquals(
        "Passage: Das Haus ist alt.\nQuestion: Was ist alt?\nAnswer: Das Haus\n\n"
            + "Passage: Der Fluss ist blau.\nQuestion: Welche Farbe?\nAnswer:",
        paper.questions().get(0).prompt().text());
    assertEquals("english", paper.questions().get(1).group());
  }

  @Test
  void triviaqaTakesAliasesAndExemplarsFromTrain() {
    Question.Open question = (Question.Open) one("triviaqa").questions().get(0);
    assertEquals("Q: Who?\nA:", question.prompt().text());
    assertEquals(List.of("Mr A", "The A", "a b"), question.references());
    assertEquals(
        "Q: Where?\nA: Here\n\nQ: Who?\nA:",
        read("triviaqa", shots(1)).get(0).questions().get(0).prompt().text());
    refused("there are 1 exemplars", () -> read("triviaqa", shots(5)));
  }

  @Test
  void gsm8ksExemplarsLoseTheirCalculator() {
    Paper paper = one("gsm8k");
    assertEquals(8, paper.shots());
    Question.Open question = (Question.Open) paper.questions().get(0);
    assertEquals(List.of("2000"), question.references());
    assertTrue(
        question
            .prompt()
            .text()
            .startsWith(
                "Question: 0 apples and 1?\nAnswer: 0+1=1\nThe answer is 1.\n\nQuestion: 1"));
    assertEquals(List.of("2"), ((Question.Open) one("addsub").questions().get(0)).references());
    assertEquals(1, one("multiarith").questions().size());
    refused("--shots: got 2, but there are 0", () -> read("addsub", shots(2)));
  }

  @Test
  void instructionRowsAreTakenApart() {
    List<Paper> papers = read("arc", shots(1));
    assertEquals(
        List.of("arc_easy_test", "arc_challenge_test"),
        read("arc", SuiteOptions.usual()).stream().map(Paper::name).toList());
    Question.Choice easy = (Question.Choice) papers.get(0).questions().get(0);
    assertEquals(
        "Question: What is hot: really?\nAnswer: fire\n\nQuestion: What is hot: really?\nAnswer:",
        easy.prompt().text());
    assertEquals(
        List.of(" ice", " fire", " a hot stone"),
        easy.options().stream().map(Question.Option::text).toList());
    assertEquals(1, easy.answer());
    assertEquals(
        Scoring.Likelihood.OVER_ANSWER,
        ((Scoring.Ranking) one("openbookqa").scoring()).measures().get(0));
    Question.Choice wet = (Question.Choice) one("boolq").questions().get(0);
    assertEquals("Question: is rain wet?\nAnswer:", wet.prompt().text());
    assertEquals(1, wet.answer());
    Question.Choice cup = (Question.Choice) one("winogrande").questions().get(0);
    assertEquals("The cup fell on the rug so the ", cup.prompt().text());
    assertEquals(List.of("cup", "rug"), cup.options().stream().map(o -> o.lead()).toList());
    assertEquals(" broke.", cup.options().get(0).text());
  }

  @Test
  void labelsAreOptions() {
    for (String suite : List.of("rte", "cb", "copa", "qqp")) {
      Question.Choice question = (Question.Choice) read(suite, shots(1)).get(0).questions().get(0);
      assertEquals(
          "Sand is wet.\nOptions: no, yes\nAnswer: no\n\nRain is wet.\nOptions: no, yes\nAnswer:",
          question.prompt().text());
      assertEquals(1, question.answer());
    }
    assertEquals(2, ((Question.Choice) one("aqua").questions().get(0)).answer());
    assertEquals("place", one("crows_pairs").questions().get(0).group());
  }

  @Test
  void superniAsksAHundredInstancesOfEachTestTask() {
    Paper paper = one("superni");
    assertEquals("superni_test", paper.name());
    assertEquals(100, paper.questions().size());
    Question.Open first = (Question.Open) paper.questions().get(0);
    assertEquals(
        "Definition: Name it.\n\nPositive Example 1 -\nInput: 1\nOutput: one\n\n"
            + "Positive Example 2 -\nInput: 2\nOutput: two\n\n"
            + "Now complete the following example -\nInput: 0\nOutput:",
        first.prompt().text());
    assertEquals(List.of("n", "m"), first.references());
    assertEquals(101, read("superni", split("all")).get(0).questions().size());
  }

  private static SuiteOptions tasks(List<String> names, List<String> categories) {
    return new SuiteOptions(
        Optional.empty(),
        OptionalInt.empty(),
        OptionalInt.empty(),
        Optional.empty(),
        OptionalInt.empty(),
        names,
        categories);
  }

  @Test
  void superniHoldsTasksOutByListAndByCategory() {
    Paper byName = read("superni", tasks(List.of("task2*"), List.of())).get(0);
    assertEquals("superni_chosen_all", byName.name());
    assertEquals(1, byName.questions().size());
    assertEquals(List.of("only tasks task2*", "1 tasks"), byName.notes());
    assertEquals(101, read("superni", tasks(List.of(), List.of("c"))).get(0).questions().size());
    refused(
        "--categories: unknown category 'D'",
        () -> read("superni", tasks(List.of(), List.of("D"))));
    refused(
        "--tasks: '[a' is not a valid glob: ",
        () -> read("superni", tasks(List.of("[a"), List.of())));
    refused(
        "--tasks: unknown task 'task3'", () -> read("superni", tasks(List.of("task3"), List.of())));
  }
}
