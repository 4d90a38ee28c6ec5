package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.eval.metric.AnswerText;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Word problems with a number as their answer, solved step by step: GSM8K (Cobbe et al. 2021),
 * AddSub and MultiArith. GSM8K's exemplars are the first rows of its train.jsonl, calculator notes
 * left out, ending in 'The answer is N.'.
 */
final class GradeSchoolMath implements Suite {
  private static final int SHOTS = 8;
  private static final int TOKENS = 256;

  private final String name;

  private GradeSchoolMath(String name) {
    this.name = name;
  }

  static List<Suite> all() {
    return List.of(
        new GradeSchoolMath("gsm8k"),
        new GradeSchoolMath("addsub"),
        new GradeSchoolMath("multiarith"));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String line() {
    return (name.equals("gsm8k") ? "8-shot from train" : "0-shot")
        + ", chain of thought, number behind 'the answer is' or '####'; --samples for self-consistency";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, name.equals("gsm8k") ? "gsm8k" : "math");
    List<Problem> problems = problems(root, options);
    List<String> exemplars = name.equals("gsm8k") ? exemplars(root, options) : List.of();
    if (!name.equals("gsm8k")) {
      Rows.shots(options.shots().orElse(0), true, 0, name + " has no training split");
    }
    List<Question> questions = new ArrayList<>();
    for (Problem problem : problems) {
      Prompt prompt = new Prompt("", exemplars, ask(problem.question));
      questions.add(new Question.Open(problem.where, "", prompt, List.of(problem.number)));
    }
    Scoring scoring = numbers(List.of("\n\n", "Question:"), options.maxNewTokens().orElse(TOKENS));
    return List.of(Paper.of(name + "_test", "test", exemplars.size(), scoring, questions));
  }

  /** Scoring of written answers whose number counts. */
  static Scoring numbers(List<String> stops, int maxNewTokens) {
    return new Scoring.Writing(
        stops,
        maxNewTokens,
        List.of(
            new Scoring.Metric(
                "exact_match",
                "the number behind 'the answer is' or '####' is the right one",
                AnswerText::numberAfterMarker,
                GradeSchoolMath::equal),
            new Scoring.Metric(
                "exact_match_last_number",
                "the last number written is the right one",
                AnswerText::lastNumber,
                GradeSchoolMath::equal)));
  }

  private static double equal(List<String> references, String answer) {
    return references.stream().anyMatch(r -> AnswerText.plain(r).equals(answer)) ? 1 : 0;
  }

  private record Problem(String question, String number, String where) {}

  private List<Problem> problems(Path root, SuiteOptions options) {
    List<Problem> problems = new ArrayList<>();
    Path file = file(root);
    for (Row row : Rows.first(Rows.of(file), options.limit())) {
      problems.add(
          name.equals("gsm8k")
              ? new Problem(row.text("question"), number(row), row.where())
              : new Problem(
                  row.text("sQuestion").strip(),
                  number(row, row.tree("lSolutions").path(0).asText()),
                  row.where()));
    }
    return problems;
  }

  private Path file(Path root) {
    if (Files.isRegularFile(root)) {
      return root;
    }
    return switch (name) {
      case "gsm8k" -> Rows.required(root.resolve("test.jsonl"), "the questions of GSM8K");
      case "addsub" -> Rows.required(root.resolve("AddSub.json"), "the questions of AddSub");
      default -> Rows.required(root.resolve("MultiArith.json"), "the questions of MultiArith");
    };
  }

  private static List<String> exemplars(Path root, SuiteOptions options) {
    int wanted = options.shots().orElse(SHOTS);
    if (wanted == 0) {
      return List.of();
    }
    Path folder = Files.isRegularFile(root) ? root.toAbsolutePath().getParent() : root;
    Path train = folder.resolve("train.jsonl");
    if (!Files.isRegularFile(train)) {
      throw new UserError(
          train + ": no such file; it should hold the exemplars of GSM8K (--shots 0 asks without)");
    }
    List<String> exemplars = new ArrayList<>();
    List<Row> rows = Rows.of(train);
    int count = Rows.shots(wanted, options.shots().isPresent(), rows.size(), train.toString());
    for (Row row : rows.subList(0, count)) {
      String number = number(row);
      String answer = row.text("answer").replaceAll("<<[^>]*>>", "");
      String thought = answer.substring(0, answer.indexOf("####")).strip();
      exemplars.add(
          ask(row.text("question")) + " " + thought + "\nThe answer is " + number + ".\n\n");
    }
    return exemplars;
  }

  private static String ask(String question) {
    return "Question: " + question.strip() + "\nAnswer:";
  }

  private static String number(Row row) {
    String answer = row.text("answer");
    int marker = answer.indexOf("####");
    if (marker < 0) {
      throw row.error("no '####' in the answer");
    }
    return number(row, answer.substring(marker + 4));
  }

  private static String number(Row row, String answer) {
    String number = AnswerText.plain(answer.strip());
    if (!number.matches("-?[0-9]+(\\.[0-9]+)?")) {
      throw row.error("the answer is '" + answer.strip() + "', needs a number");
    }
    return number;
  }
}
