package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import dev.caravan.eval.suite.Rows.Row;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * RTE, CB, COPA (SuperGLUE, Wang et al. 2019) and QQP as sentences with a label: the likeliest of
 * the labels that labels.json lists. Exemplars, where wanted, are the first rows of train.json.
 */
final class LabelledSentences implements Suite {
  private final String name;

  private LabelledSentences(String name) {
    this.name = name;
  }

  static List<Suite> all() {
    return List.of(
        new LabelledSentences("rte"),
        new LabelledSentences("cb"),
        new LabelledSentences("copa"),
        new LabelledSentences("qqp"));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String line() {
    return "0-shot (--shots N from train), likeliest label; also per token";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    String set = name.toUpperCase(Locale.ROOT);
    Path root = Rows.folder(data, set, "nlu/" + set, name);
    List<String> labels =
        labels(Rows.required(root.resolve("labels.json"), "the labels of " + set));
    int shots = options.shots().orElse(0);
    List<String> exemplars = new ArrayList<>();
    if (shots > 0) {
      List<Row> train =
          Rows.of(Rows.required(root.resolve("train.json"), "the exemplars of " + set));
      Rows.shots(shots, true, train.size(), root + "/train.json");
      for (Row row : train.subList(0, shots)) {
        exemplars.add(ask(row, labels) + " " + labels.get(answer(row, labels)) + "\n\n");
      }
    }
    List<Question> questions = new ArrayList<>();
    Path test = Rows.required(root.resolve("test.json"), "the questions of " + set);
    for (Row row : Rows.first(Rows.of(test), options.limit())) {
      questions.add(
          new Question.Choice(
              row.where(),
              "",
              new Prompt("", exemplars, ask(row, labels)),
              labels.stream().map(label -> Question.Option.of(" " + label)).toList(),
              answer(row, labels)));
    }
    Scoring scoring =
        Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.SUM, Scoring.Likelihood.PER_TOKEN));
    return List.of(Paper.of(name + "_test", "test", shots, scoring, questions));
  }

  private static String ask(Row row, List<String> labels) {
    return row.text("sentence") + "\nOptions: " + String.join(", ", labels) + "\nAnswer:";
  }

  private static int answer(Row row, List<String> labels) {
    int answer = labels.indexOf(row.text("label"));
    if (answer < 0) {
      throw row.error(
          "label '" + row.text("label") + "', needs one of " + String.join(", ", labels));
    }
    return answer;
  }

  private static List<String> labels(Path file) {
    try {
      List<String> labels = new ArrayList<>();
      for (JsonNode label : new ObjectMapper().readTree(file.toFile())) {
        labels.add(label.asText());
      }
      if (labels.size() < 2) {
        throw new UserError(file + ": needs a list of at least two labels");
      }
      return labels;
    } catch (IOException e) {
      throw new UserError(file + ": not a JSON list of labels", e);
    }
  }
}
