package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.data.source.LineReader;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * HellaSwag (Zellers et al. 2019): which ending continues the context. Either the published jsonl,
 * or six lines an item: context, index of the right ending, four endings.
 */
final class HellaSwag implements Suite {
  private static final int ENDINGS = 4;

  @Override
  public String name() {
    return "hellaswag";
  }

  @Override
  public String line() {
    return "0-shot, likeliest ending; also divided by tokens, characters, bytes";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Rows.shots(options.shots().orElse(0), true, 0, "hellaswag has no exemplars");
    Path root = Rows.folder(data, "hellaswag");
    List<Question> all = new ArrayList<>();
    for (Path file :
        Rows.files(
            root,
            n -> n.matches(".*val.*\\.(txt|jsonl)(\\.gz)?"),
            "hellaswag_val .txt or .jsonl")) {
      all.addAll(file.toString().matches(".*\\.txt(\\.gz)?") ? sixLines(file) : published(file));
    }
    Scoring scoring =
        Scoring.Ranking.accuracy(
            List.of(
                Scoring.Likelihood.PER_CHARACTER,
                Scoring.Likelihood.SUM,
                Scoring.Likelihood.PER_TOKEN,
                Scoring.Likelihood.PER_BYTE));
    return List.of(
        Paper.of(
            "hellaswag_validation", "validation", 0, scoring, Rows.first(all, options.limit())));
  }

  private static List<Question> sixLines(Path file) {
    List<Question> questions = new ArrayList<>();
    try (LineReader lines = new LineReader(file)) {
      while (lines.next()) {
        if (lines.isBlank()) {
          continue;
        }
        String where = file + ":" + lines.line();
        String context = lines.text();
        String answer = next(lines, where).strip();
        if (!answer.matches("[0-3]")) {
          throw lines.error("got '" + answer + "', needs the right ending's index, 0 to 3");
        }
        List<Question.Option> endings = new ArrayList<>();
        for (int i = 0; i < ENDINGS; i++) {
          endings.add(Question.Option.of(" " + next(lines, where).strip()));
        }
        questions.add(
            new Question.Choice(
                where, "", Prompt.of(context.strip()), endings, Integer.parseInt(answer)));
      }
    }
    return questions;
  }

  private static String next(LineReader lines, String where) {
    if (!lines.next()) {
      throw new UserError(where + ": the file ends within this item, which needs six lines");
    }
    return lines.text();
  }

  private static List<Question> published(Path file) {
    List<Question> questions = new ArrayList<>();
    for (Row row : Rows.of(file)) {
      List<Question.Option> endings = new ArrayList<>();
      row.tree("endings").forEach(e -> endings.add(Question.Option.of(" " + e.asText().strip())));
      String context = row.text("activity_label") + ": " + row.text("ctx");
      questions.add(
          new Question.Choice(
              row.where(),
              "",
              Prompt.of(context.strip()),
              endings,
              row.index("label", endings.size())));
    }
    return questions;
  }
}
