package dev.caravan.eval.suite;

import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * WinoGrande (Sakaguchi et al. 2019) by partial evaluation (Trinh and Le 2018): each name is put in
 * place of the blank, and what stands behind the blank is scored. Rows are the published jsonl or
 * instruction rows.
 */
final class WinoGrande implements Suite {
  @Override
  public String name() {
    return "winogrande";
  }

  @Override
  public String line() {
    return "0-shot, likelihood of the text behind the blank, with either name in it";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Rows.shots(options.shots().orElse(0), true, 0, "winogrande is asked without exemplars");
    Path root = Rows.folder(data, "winogrande", "commonsense/winogrande");
    Path file =
        Rows.files(root, n -> Rows.isData(n) && n.matches(".*(dev|val|test).*"), "dev or test file")
            .get(0);
    List<Question> questions = new ArrayList<>();
    for (Row row : Rows.first(Rows.of(file), options.limit())) {
      boolean instruction = InstructionRow.is(row);
      InstructionRow read = instruction ? InstructionRow.of(row) : null;
      String sentence = instruction ? read.question() : row.text("sentence");
      List<String> names =
          instruction ? read.options() : List.of(row.text("option1"), row.text("option2"));
      int answer = instruction ? read.answer() : row.index("answer", 3) - 1;
      int blank = sentence.indexOf('_');
      if (blank < 0 || names.size() != 2 || answer < 0) {
        throw row.error("needs a sentence with '_', two options and the answer 1 or 2");
      }
      String rest = " " + sentence.substring(blank + 1).strip();
      List<Question.Option> options2 =
          names.stream().map(name -> new Question.Option(name, rest)).toList();
      Prompt prompt = Prompt.of(sentence.substring(0, blank));
      questions.add(new Question.Choice(row.where(), "", prompt, options2, answer));
    }
    Scoring scoring = Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.SUM));
    return List.of(Paper.of("winogrande_validation", "validation", 0, scoring, questions));
  }
}
