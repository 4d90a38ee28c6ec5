package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * MMLU (Hendrycks et al. 2021): multiple choice in many subjects, five exemplars of the subject
 * from dev, the likeliest of the letters. The result is the unweighted mean over the subjects that
 * are there. The files are SUBJECT_test.csv and so on, question, four choices, answer: without a
 * header and with letters as published, or with a header and answers 0 to 3.
 */
final class Mmlu implements Suite {
  private static final List<String> LETTERS = List.of("A", "B", "C", "D");
  private static final String[] FIELDS = {
    "question", "choice0", "choice1", "choice2", "choice3", "answer"
  };
  private static final int SHOTS = 5;

  @Override
  public String name() {
    return "mmlu";
  }

  @Override
  public String line() {
    return "5-shot from dev, likeliest letter, unweighted mean over subjects; --split test|validation";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "mmlu", "data");
    String split = options.split().orElse("test");
    String folder =
        switch (split) {
          case "test", "dev" -> split;
          case "validation", "val" -> "val";
          default ->
              throw new UserError("--split: got '" + split + "', needs test, validation or dev");
        };
    Path questions = root.resolve(folder);
    if (!Files.isDirectory(questions)) {
      throw new UserError(
          questions + ": no such folder; it should hold SUBJECT_" + folder + ".csv files of MMLU");
    }
    int wanted = options.shots().orElse(SHOTS);
    String ending = "_" + folder + ".csv";
    List<Question> all = new ArrayList<>();
    for (Path file : Rows.files(questions, n -> n.endsWith(ending), "SUBJECT" + ending)) {
      String name = file.getFileName().toString();
      String subject = name.substring(0, name.length() - ending.length());
      List<Row> dev = wanted == 0 ? List.of() : rows(dev(root, subject));
      if (dev.size() < wanted) {
        throw new UserError(dev(root, subject) + ": " + dev.size() + " exemplars, needs " + wanted);
      }
      List<String> exemplars =
          dev.subList(0, wanted).stream()
              .map(row -> ask(row) + " " + LETTERS.get(answer(row)) + "\n\n")
              .toList();
      String preamble =
          "The following are multiple choice questions (with answers) about "
              + subject.replace('_', ' ')
              + ".\n\n";
      for (Row row : Rows.first(rows(file), options.limit())) {
        Prompt prompt = new Prompt(preamble, exemplars, ask(row));
        List<Question.Option> letters =
            LETTERS.stream().map(letter -> Question.Option.of(" " + letter)).toList();
        all.add(new Question.Choice(row.where(), subject, prompt, letters, answer(row)));
      }
    }
    String shown = folder.equals("val") ? "validation" : folder;
    return List.of(
        new Paper(
            "mmlu_" + shown,
            shown,
            wanted,
            Paper.Mean.OF_GROUPS,
            List.of(),
            Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.SUM)),
            all,
            List.of()));
  }

  private static Path dev(Path root, String subject) {
    return Rows.required(
        root.resolve("dev").resolve(subject + "_dev.csv"), "the exemplars of " + subject);
  }

  /** The rows of a file, whichever of the two forms it has. */
  private static List<Row> rows(Path file) {
    List<Row> rows = Rows.csv(file, FIELDS);
    boolean header = rows.get(0).text("answer").equals("answer");
    return header ? rows.subList(1, rows.size()) : rows;
  }

  private static String ask(Row row) {
    StringBuilder text = new StringBuilder(row.text("question").strip());
    IntStream.range(0, LETTERS.size())
        .forEach(
            i ->
                text.append('\n')
                    .append(LETTERS.get(i))
                    .append(". ")
                    .append(row.text("choice" + i)));
    return text.append("\nAnswer:").toString();
  }

  private static int answer(Row row) {
    int letter = LETTERS.indexOf(row.text("answer").strip());
    return letter >= 0 ? letter : row.index("answer", LETTERS.size());
  }
}
