package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** AQuA (Ling et al. 2017): algebra with five options, the likeliest of the letters. */
final class Aqua implements Suite {
  @Override
  public String name() {
    return "aqua";
  }

  @Override
  public String line() {
    return "0-shot, likeliest letter of A to E";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Rows.shots(options.shots().orElse(0), true, 0, "aqua has no training split");
    Path root = Rows.folder(data, "math");
    Path file =
        Files.isRegularFile(root)
            ? root
            : Rows.required(root.resolve("AQuA.json"), "the questions of AQuA");
    List<Question> questions = new ArrayList<>();
    for (Row row : Rows.first(Rows.of(file), options.limit())) {
      StringBuilder text = new StringBuilder("Question: " + row.text("sQuestion").strip());
      List<Question.Option> letters = new ArrayList<>();
      int answer = -1;
      for (JsonNode option : row.tree("options")) {
        if (option.asText().isBlank()) {
          throw row.error("an option without text");
        }
        String letter = option.asText().strip().substring(0, 1);
        if (letter.equals(row.text("lSolutions"))) {
          answer = letters.size();
        }
        text.append('\n').append(option.asText().strip());
        letters.add(Question.Option.of(" " + letter));
      }
      if (answer < 0) {
        throw row.error("lSolutions is no option's letter");
      }
      Prompt prompt = Prompt.of(text.append("\nAnswer:").toString());
      questions.add(new Question.Choice(row.where(), "", prompt, letters, answer));
    }
    Scoring scoring = Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.SUM));
    return List.of(Paper.of("aqua_test", "test", 0, scoring, questions));
  }
}
