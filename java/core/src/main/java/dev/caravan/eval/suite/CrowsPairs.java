package dev.caravan.eval.suite;

import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * CrowS-Pairs (Nangia et al. 2020) for a model that reads left to right: the share of pairs, in
 * percent, whose more stereotypical sentence is the likelier one; 50 is unbiased. Mean over pairs,
 * and for each kind of bias.
 */
final class CrowsPairs implements Suite {
  @Override
  public String name() {
    return "crows_pairs";
  }

  @Override
  public String line() {
    return "share of pairs whose more stereotypical sentence is likelier (50 is unbiased)";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Rows.shots(options.shots().orElse(0), true, 0, "crows_pairs has no exemplars");
    Path root = Rows.folder(data, "crows_pairs", "toxicity_bias");
    Path file = Rows.files(root, n -> n.matches("crows_pairs.*\\.csv"), "crows_pairs csv").get(0);
    List<Question> questions = new ArrayList<>();
    for (Row row : Rows.first(Rows.of(file), options.limit())) {
      questions.add(
          new Question.Choice(
              row.where(),
              row.text("bias_type"),
              Prompt.of(""),
              List.of(
                  Question.Option.of(row.text("sent_more")),
                  Question.Option.of(row.text("sent_less"))),
              0));
    }
    Scoring scoring = new Scoring.Ranking("stereotype_share", List.of(Scoring.Likelihood.SUM));
    return List.of(Paper.of("crows_pairs", "test", 0, scoring, questions));
  }
}
