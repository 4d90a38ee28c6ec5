package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.metric.TriviaMatch;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * TriviaQA (Joshi et al. 2017) without documents: exact match against the normalised aliases. Files
 * are the published form, {"Data": [{"Question", "Answer": {"Value", "Aliases",
 * "NormalizedAliases"}}]}; exemplars come from the file with 'train' in its name.
 */
final class TriviaQa implements Suite {
  private static final int TOKENS = 24;

  @Override
  public String name() {
    return "triviaqa";
  }

  @Override
  public String line() {
    return "0-shot, --shots 1, 5 or more from train, exact match with any alias";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "triviaqa");
    List<Path> files =
        Rows.files(
            root, n -> n.endsWith(".json") && !n.contains("train"), "file of questions (.json)");
    int shots = options.shots().orElse(0);
    List<String> exemplars = new ArrayList<>();
    if (shots > 0) {
      Path folder = Files.isRegularFile(root) ? root.toAbsolutePath().getParent() : root;
      Path train =
          Rows.files(
                  folder,
                  n -> n.endsWith(".json") && n.contains("train"),
                  "train file (.json), from which exemplars come")
              .get(0);
      List<Row> rows = questions(train);
      Rows.shots(shots, true, rows.size(), train.toString());
      for (Row row : rows.subList(0, shots)) {
        exemplars.add(ask(row) + " " + row.tree("Answer").path("Value").asText() + "\n\n");
      }
    }
    List<Question> questions = new ArrayList<>();
    for (Path file : files) {
      for (Row row : questions(file)) {
        Prompt prompt = new Prompt("", exemplars, ask(row));
        questions.add(new Question.Open(row.where(), "", prompt, aliases(row)));
      }
    }
    Scoring scoring =
        new Scoring.Writing(
            List.of("\n"),
            options.maxNewTokens().orElse(TOKENS),
            List.of(
                Scoring.Metric.ofAll(
                    "exact_match",
                    "equal to an alias without case, punctuation, articles",
                    TriviaMatch::exact)));
    String split = files.get(0).getFileName().toString().contains("test") ? "test" : "validation";
    return List.of(
        Paper.of(
            "triviaqa_" + split, split, shots, scoring, Rows.first(questions, options.limit())));
  }

  private static List<Row> questions(Path file) {
    List<Row> rows = new ArrayList<>();
    for (Row whole : Rows.of(file)) {
      rows.addAll(whole.rows("Data"));
    }
    if (rows.isEmpty()) {
      throw new UserError(file + ": no question in 'Data'");
    }
    return rows;
  }

  private static String ask(Row row) {
    return "Q: " + row.text("Question").strip() + "\nA:";
  }

  private static List<String> aliases(Row row) {
    JsonNode answer = row.tree("Answer");
    Set<String> aliases = new LinkedHashSet<>();
    aliases.add(answer.path("Value").asText());
    answer.path("Aliases").forEach(alias -> aliases.add(alias.asText()));
    answer.path("NormalizedAliases").forEach(alias -> aliases.add(alias.asText()));
    aliases.removeIf(String::isBlank);
    if (aliases.isEmpty()) {
      throw row.error("no 'Value' and no alias in 'Answer'");
    }
    return List.copyOf(aliases);
  }
}
