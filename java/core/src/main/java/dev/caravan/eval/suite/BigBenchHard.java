package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.eval.metric.AnswerText;
import dev.caravan.eval.suite.Rows.Row;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Pattern;

/**
 * BIG-Bench Hard (Suzgun et al. 2022): tasks/TASK.json with the three exemplars of
 * cot-prompts/TASK.txt. With reasoning the model goes on behind 'Let's think step by step.' and the
 * answer is what follows 'the answer is'; without, exemplars are cut to their answers. Unweighted
 * mean over the tasks that are there.
 */
final class BigBenchHard implements Suite {
  private static final int SHOTS = 3;
  private static final int DIRECT_TOKENS = 64;
  private static final int COT_TOKENS = 512;
  private static final Pattern OPTION = Pattern.compile("(?m)^(\\([A-Z]\\)|-) ");
  private static final String THINK = "A: Let's think step by step.";

  @Override
  public String name() {
    return "bbh";
  }

  @Override
  public String line() {
    return "3-shot, exact match, direct and with chain of thought; --reasoning direct|cot";
  }

  @Override
  public boolean hasReasoning() {
    return true;
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "bbh");
    Path tasks = Rows.folder(root, "tasks", "bbh");
    int shots = options.shots().orElse(SHOTS);
    List<Question> direct = new ArrayList<>();
    List<Question> cot = new ArrayList<>();
    for (Path file : Rows.files(tasks, n -> n.endsWith(".json"), "TASK.json of BIG-Bench Hard")) {
      String task = file.getFileName().toString().replaceFirst("\\.json$", "");
      Exemplars exemplars = exemplars(root.resolve("cot-prompts").resolve(task + ".txt"), shots);
      Row whole = Rows.of(file).get(0);
      List<Row> examples = whole.some("examples");
      long answers = examples.stream().map(row -> row.text("target").strip()).distinct().count();
      for (Row row : Rows.first(examples, options.limit())) {
        String ask = "Q: " + row.text("input") + "\n";
        List<String> target = List.of(row.text("target").strip());
        Prompt plain = new Prompt(exemplars.instruction, exemplars.direct, ask + "A:");
        Prompt think = new Prompt(exemplars.instruction, exemplars.cot, ask + THINK);
        double chance = chance(row.text("input"), answers);
        direct.add(new Question.Open(row.where(), task, plain, target, chance));
        cot.add(new Question.Open(row.where(), task, think, target, chance));
      }
    }
    List<Paper> papers = new ArrayList<>();
    if (options.direct()) {
      papers.add(
          paper(
              "bbh_direct",
              shots,
              new Scoring.Writing(
                  List.of("\n"),
                  tokens(options.maxNewTokens(), DIRECT_TOKENS),
                  List.of(
                      Scoring.Metric.ofAll(
                          "exact_match",
                          "the first line is the target",
                          (references, answer) -> references.contains(answer) ? 1 : 0))),
              direct));
    }
    if (options.cot()) {
      papers.add(
          paper(
              "bbh_cot",
              shots,
              new Scoring.Writing(
                  List.of("\n\n", "Q:"),
                  tokens(options.maxNewTokens(), COT_TOKENS),
                  List.of(
                      new Scoring.Metric(
                          "exact_match",
                          "what follows 'the answer is' is the target",
                          AnswerText::afterMarker,
                          (references, answer) -> references.contains(answer) ? 1 : 0))),
              cot));
    }
    return papers;
  }

  /**
   * What guessing scores: among the options that a question lists, else between the two answers of
   * a task that has no others; answers in words are not guessed.
   */
  static double chance(String input, long answersOfTask) {
    long options = OPTION.matcher(input).results().count();
    if (options >= 2) {
      return 1.0 / options;
    }
    return answersOfTask == 2 ? 0.5 : 0;
  }

  private static int tokens(OptionalInt wanted, int usual) {
    return wanted.orElse(usual);
  }

  private static Paper paper(String name, int shots, Scoring scoring, List<Question> questions) {
    return new Paper(
        name, "test", shots, Paper.Mean.OF_GROUPS, List.of(), scoring, questions, List.of());
  }

  private record Exemplars(String instruction, List<String> cot, List<String> direct) {}

  /** A canary line, five dashes, the instruction, then exemplars with an empty line before each. */
  private static Exemplars exemplars(Path file, int shots) {
    String text;
    try {
      text = Files.readString(Rows.required(file, "the exemplars of a task"));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    int dashes = text.indexOf("-----");
    String body = dashes < 0 ? text : text.substring(text.indexOf('\n', dashes) + 1);
    String[] parts = body.strip().split("\n\n(?=Q: )");
    if (parts.length - 1 < shots) {
      throw new UserError(file + ": " + (parts.length - 1) + " exemplars, needs " + shots);
    }
    List<String> cot = new ArrayList<>();
    List<String> direct = new ArrayList<>();
    for (int i = 1; i <= shots; i++) {
      int thought = parts[i].indexOf(THINK);
      if (thought < 0) {
        throw new UserError(file + ": exemplar " + i + " has no '" + THINK + "'");
      }
      String answer =
          AnswerText.afterMarker(parts[i].substring(thought))
              .orElseThrow(
                  () -> new UserError(file + ": an exemplar without 'the answer is' in it"));
      cot.add(parts[i] + "\n\n");
      direct.add(parts[i].substring(0, thought) + "A: " + answer + "\n\n");
    }
    return new Exemplars(parts[0].strip() + "\n\n", cot, direct);
  }
}
