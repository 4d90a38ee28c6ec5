package dev.caravan.eval.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.kernels.DType;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A small random model goes through every benchmark, and scores are what was answered. */
class ExaminerTest {
  private static final DeviceChoice CPU = DeviceChoice.of("cpu", 2);

  @TempDir static Path root;

  @BeforeAll
  static void write() {
    Fixtures.write(root);
  }

  private static ModelSource model(int context) {
    RunConfig config =
        RunFile.parse(
            """
            model:
              config: {model_type: llama, vocab_size: 132, hidden_size: 32, intermediate_size: 48,
                num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
                max_position_embeddings: %d, rms_norm_eps: 1e-5, tie_word_embeddings: true,
                bos_token_id: 1, eos_token_id: 2}
              seed: 3
            """
                .formatted(context),
            "test",
            "test",
            List.of());
    return ModelSource.of(config.model());
  }

  private static List<Result> examine(
      Paper paper, int context, ExaminerOptions options, List<ObjectNode> answers) {
    try (Examiner examiner = new Examiner(model(context), new ByteTokenizer(), CPU, options)) {
      return examiner.examine(
          paper,
          new Examiner.Listener() {
            @Override
            public void answered(ObjectNode answer) {
              answers.add(answer);
            }
          });
    }
  }

  static List<String> suites() {
    return Suites.all().stream().map(Suite::name).toList();
  }

  @ParameterizedTest
  @MethodSource("suites")
  void everySuiteRunsAndNamesItsProtocol(String suite) {
    SuiteOptions options =
        new SuiteOptions(
            java.util.Optional.empty(),
            java.util.OptionalInt.empty(),
            java.util.OptionalInt.of(2),
            java.util.Optional.empty(),
            java.util.OptionalInt.of(8));
    for (Paper paper : Suites.named(suite).read(root, options)) {
      List<ObjectNode> answers = new ArrayList<>();
      List<Result> results = examine(paper, 1536, ExaminerOptions.usual(), answers);
      assertEquals(paper.questions().size(), answers.size());
      for (Result result : results) {
        assertTrue(result.metric().startsWith(paper.name() + "_"), result.metric());
        assertTrue(result.value() >= 0 && result.value() <= 100);
        assertTrue(result.n() >= 1);
        assertEquals(paper.shots(), result.shots());
        assertTrue(result.promptSha256().matches("[0-9a-f]{64}"));
        assertEquals(0, result.counts().fewerShots());
        assertEquals(0, result.counts().skipped());
      }
      assertEquals(
          results.stream().map(Result::json).toList(),
          examine(paper, 1536, ExaminerOptions.usual(), new ArrayList<>()).stream()
              .map(Result::json)
              .toList());
    }
  }

  private static Paper choices(List<Question> questions) {
    return new Paper(
        "paper",
        "test",
        0,
        Paper.Mean.OF_GROUPS,
        List.of("left out"),
        Scoring.Ranking.accuracy(
            List.of(
                Scoring.Likelihood.SUM,
                Scoring.Likelihood.PER_TOKEN,
                Scoring.Likelihood.PER_CHARACTER,
                Scoring.Likelihood.PER_BYTE,
                Scoring.Likelihood.OVER_ANSWER)),
        questions,
        List.of());
  }

  private static Question.Choice choice(String group, String text, int answer, String... options) {
    return new Question.Choice(
        "here",
        group,
        Prompt.of(text),
        java.util.Arrays.stream(options).map(Question.Option::of).toList(),
        answer);
  }

  /** From the log-probabilities that it reports, its choices and means follow. */
  @Test
  void choicesFollowFromTheLikelihoods() {
    List<Question> questions = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      String group = i < 8 ? "large" : i < 10 ? "small" : "left out";
      questions.add(
          choice(group, "Question " + i + ":", i % 3, " short", " é", " much longer " + i));
    }
    List<ObjectNode> answers = new ArrayList<>();
    List<Result> results = examine(choices(questions), 256, ExaminerOptions.usual(), answers);
    double[][] lengths = new double[][] {{1, 1, 1}, {6, 3, 0}, {5, 1, 0}, {5, 2, 0}};
    String[] names = {"", "_per_token", "_per_character", "_per_byte"};
    for (int m = 0; m < names.length; m++) {
      double large = 0;
      double small = 0;
      for (int q = 0; q < 10; q++) {
        int longest = (" much longer " + q).length() - (m < 2 ? 0 : 1);
        double best = Double.NEGATIVE_INFINITY;
        int chosen = -1;
        for (int o = 0; o < 3; o++) {
          double length = lengths[m][o] == 0 ? longest : lengths[m][o];
          double value = answers.get(q).get("logprobs").get(o).asDouble() / length;
          if (value > best) {
            best = value;
            chosen = o;
          }
        }
        double right = chosen == q % 3 ? 1 : 0;
        large += q < 8 ? right / 8 : 0;
        small += q < 8 ? 0 : right / 2;
      }
      String metric = "paper_accuracy" + names[m];
      Result mean = results.stream().filter(r -> r.metric().equals(metric)).findFirst().get();
      assertEquals(50 * (large + small), mean.value(), 1e-9, metric);
      assertEquals(10, mean.n());
      assertEquals(100.0 / 3, mean.chance(), 1e-9);
      assertTrue(mean.scoring().contains("unweighted mean over groups (2) without left out"));
    }
    assertTrue(results.stream().anyMatch(r -> r.metric().equals("paper_accuracy/left out")));
  }

  @Test
  void theHashIsThatOfThePromptsAndOptions() {
    List<Question> questions = List.of(choice("g", "One?", 0, " a", " b"));
    Result first =
        examine(choices(questions), 64, ExaminerOptions.usual(), new ArrayList<>()).get(0);
    Question other = choice("g", "One?", 0, " a", " c");
    Result second =
        examine(choices(List.of(other)), 64, ExaminerOptions.usual(), new ArrayList<>()).get(0);
    assertNotEquals(first.promptSha256(), second.promptSha256());
    // printf 'One?\0 a\0 b\0' | sha256sum
    assertEquals(
        "1ae0ccabebb2df231299e402a85697b76e3eea579a7d4e104fa2aa6aa2402cda", first.promptSha256());
  }

  private static Paper open(List<String> exemplars, int questions) {
    List<Question> all =
        IntStream.range(0, questions)
            .mapToObj(
                i ->
                    (Question)
                        new Question.Open(
                            "row " + i,
                            "",
                            new Prompt("", exemplars, "Q" + "?".repeat(i) + "\nA:"),
                            List.of("x")))
            .toList();
    return Paper.of(
        "open",
        "test",
        exemplars.size(),
        new Scoring.Writing(
            List.of("\n"),
            8,
            List.of(Scoring.Metric.ofAll("exact_match", "same", (r, a) -> r.contains(a) ? 1 : 0))),
        all);
  }

  @Test
  void exemplarsGoWhereTheWholeDoesNotFit() {
    List<String> exemplars = List.of("a".repeat(20) + "\n\n", "b".repeat(20) + "\n\n");
    Paper paper = open(exemplars, 3);
    List<ObjectNode> answers = new ArrayList<>();
    Result result = examine(paper, 48, ExaminerOptions.usual(), answers).get(0);
    assertEquals(3, result.counts().fewerShots());
    assertEquals(2, result.shots());
    assertTrue(answers.get(0).get("prompt").asText().startsWith("aaaa"));
    ExaminerOptions fail = new ExaminerOptions(ExaminerOptions.TooLong.FAIL, 1, 0, 1, 0, DType.F32);
    UserError e = assertThrows(UserError.class, () -> examine(paper, 48, fail, new ArrayList<>()));
    assertEquals(
        "row 0: the prompt has 49 tokens and needs 8 for the answer, the model's context is 48;"
            + " --too-long fewer-shots leaves exemplars out",
        e.getMessage());
  }

  @Test
  void aQuestionThatNeverFitsIsAnErrorOrLeftOutAndCounted() {
    Paper paper = open(List.of(), 30);
    UserError e =
        assertThrows(
            UserError.class, () -> examine(paper, 24, ExaminerOptions.usual(), new ArrayList<>()));
    assertTrue(e.getMessage().contains("--too-long skip leaves such questions out"));
    ExaminerOptions skip = new ExaminerOptions(ExaminerOptions.TooLong.SKIP, 1, 0, 1, 0, DType.F32);
    Result result = examine(paper, 24, skip, new ArrayList<>()).get(0);
    assertEquals(30, result.n() + result.counts().skipped());
    assertTrue(result.counts().skipped() > 5 && result.n() > 5);
  }

  @Test
  void samplesDependOnTheSeedAlone() {
    Paper paper = open(List.of(), 4);
    List<List<ObjectNode>> runs = new ArrayList<>();
    for (long seed : new long[] {5, 5, 6}) {
      List<ObjectNode> answers = new ArrayList<>();
      ExaminerOptions drawn =
          new ExaminerOptions(ExaminerOptions.TooLong.FAIL, 3, 1, 1, seed, DType.F32);
      Result result = examine(paper, 64, drawn, answers).get(0);
      assertTrue(
          result.scoring().contains("majority of 3 samples at temperature 1.0, top-p 1.0, seed "),
          result.scoring());
      runs.add(answers);
    }
    assertEquals(3, runs.get(0).get(0).get("written").size());
    assertEquals(runs.get(0), runs.get(1));
    assertNotEquals(runs.get(0), runs.get(2));
  }
}
