package dev.caravan.eval.suite;

import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * BoolQ (Clark et al. 2019): yes or no, ranked; over what 'Answer:' alone makes of both, as LLaMA
 * does, and plain. Rows are the published jsonl, with a passage, or instruction rows, without one.
 */
final class BoolQ implements Suite {
  @Override
  public String name() {
    return "boolq";
  }

  @Override
  public String line() {
    return "0-shot, likelier of yes and no: over that behind 'Answer:', and plain";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Rows.shots(options.shots().orElse(0), true, 0, "boolq is asked without exemplars");
    Path root = Rows.folder(data, "boolq", "commonsense/boolq");
    Path file =
        Rows.files(root, n -> Rows.isData(n) && n.matches(".*(dev|val|test).*"), "dev or test file")
            .get(0);
    List<Question> questions = new ArrayList<>();
    boolean passage = false;
    for (Row row : Rows.first(Rows.of(file), options.limit())) {
      boolean instruction = InstructionRow.is(row);
      InstructionRow read = instruction ? InstructionRow.of(row) : null;
      String question = instruction ? read.question() : row.text("question") + "?";
      int answer = instruction ? read.answer() : published(row);
      String before = instruction ? "" : row.text("passage") + "\n";
      passage |= !instruction;
      questions.add(
          new Question.Choice(
              row.where(),
              "",
              Prompt.of(before + "Question: " + question + "\nAnswer:"),
              List.of(Question.Option.of(" no"), Question.Option.of(" yes")),
              answer));
    }
    Scoring scoring =
        Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.OVER_ANSWER, Scoring.Likelihood.SUM));
    List<String> notes =
        passage ? List.of() : List.of("the file has no passages: questions are put alone");
    return List.of(
        new Paper(
            "boolq_validation",
            "validation",
            0,
            Paper.Mean.OF_QUESTIONS,
            List.of(),
            scoring,
            questions,
            notes));
  }

  private static int published(Row row) {
    return switch (row.text("answer")) {
      case "true" -> 1;
      case "false" -> 0;
      default -> throw row.error("'answer' is '" + row.text("answer") + "', needs true or false");
    };
  }
}
