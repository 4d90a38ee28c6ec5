package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.eval.metric.AnswerText;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * MMLU (Hendrycks et al. 2021): multiple choice in many subjects, five exemplars of the subject
 * from dev, the likeliest of the letters. The result is the unweighted mean over the subjects that
 * are there. The files are SUBJECT_test.csv and so on, question, four choices, answer: without a
 * header and with letters as published, or with a header and answers 0 to 3.
 *
 * <p>With reasoning (Chung et al. 2022, arXiv 2210.11416, appendix D) the model goes on behind
 * 'Let's think step by step.' and the answer is the letter behind 'the answer is'. The exemplars
 * are those of {@value #REASONED}, an object from a subject to an instruction and questions that
 * are answered so, each behind an empty line. It is asked so where that file is there, or where the
 * user wants nothing else.
 */
final class Mmlu implements Suite {
  private static final List<String> LETTERS = List.of("A", "B", "C", "D");
  private static final String[] FIELDS = {
    "question", "choice0", "choice1", "choice2", "choice3", "answer"
  };
  private static final int SHOTS = 5;
  private static final int REASONING_TOKENS = 512;
  private static final String REASONED = "mmlu-cot.json";
  private static final String THINK = "A: Let's think step by step.";

  @Override
  public String name() {
    return "mmlu";
  }

  @Override
  public String line() {
    return "5-shot from dev, likeliest letter, or written with reasoning; unweighted mean over subjects;"
        + " --split test|validation, --reasoning direct|cot";
  }

  @Override
  public boolean hasReasoning() {
    return true;
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
    List<Subject> subjects = subjects(questions, "_" + folder + ".csv", options);
    String shown = folder.equals("val") ? "validation" : folder;
    List<Paper> papers = new ArrayList<>();
    if (options.direct()) {
      papers.add(direct(root, shown, subjects, options.shots().orElse(SHOTS)));
    }
    boolean only = options.reasoning().isPresent() && options.cot();
    if (only || options.cot() && Files.isRegularFile(root.resolve(REASONED))) {
      papers.add(reasoned(root, shown, subjects, options));
    }
    return papers;
  }

  /** A subject's questions. */
  private record Subject(String name, List<Row> rows) {
    String instruction() {
      return "The following are multiple choice questions (with answers) about "
          + name.replace('_', ' ')
          + ".\n\n";
    }
  }

  private static List<Subject> subjects(Path questions, String ending, SuiteOptions options) {
    List<Subject> subjects = new ArrayList<>();
    for (Path file : Rows.files(questions, n -> n.endsWith(ending), "SUBJECT" + ending)) {
      String name = file.getFileName().toString();
      subjects.add(
          new Subject(
              name.substring(0, name.length() - ending.length()),
              Rows.first(rows(file), options.limit())));
    }
    return subjects;
  }

  private static Paper direct(Path root, String split, List<Subject> subjects, int wanted) {
    List<Question.Option> letters =
        LETTERS.stream().map(letter -> Question.Option.of(" " + letter)).toList();
    List<Question> all = new ArrayList<>();
    for (Subject subject : subjects) {
      List<Row> dev = wanted == 0 ? List.of() : rows(dev(root, subject.name));
      if (dev.size() < wanted) {
        throw new UserError(
            dev(root, subject.name) + ": " + dev.size() + " exemplars, needs " + wanted);
      }
      List<String> exemplars =
          dev.subList(0, wanted).stream()
              .map(row -> ask(row) + " " + LETTERS.get(answer(row)) + "\n\n")
              .toList();
      for (Row row : subject.rows) {
        Prompt prompt = new Prompt(subject.instruction(), exemplars, ask(row));
        all.add(new Question.Choice(row.where(), subject.name, prompt, letters, answer(row)));
      }
    }
    return paper(
        "mmlu_" + split,
        split,
        wanted,
        Scoring.Ranking.accuracy(List.of(Scoring.Likelihood.SUM)),
        all,
        List.of());
  }

  private static Paper reasoned(
      Path root, String split, List<Subject> subjects, SuiteOptions options) {
    int wanted = options.shots().orElse(SHOTS);
    Path file = root.resolve(REASONED);
    Optional<Row> written =
        wanted == 0
            ? Optional.empty()
            : Optional.of(
                Rows.of(
                        Rows.required(
                            file,
                            "exemplars with reasoning, an object from a subject to their text;"
                                + " --shots 0 asks without"))
                    .get(0));
    List<Question> all = new ArrayList<>();
    List<String> fewer = new ArrayList<>();
    for (Subject subject : subjects) {
      String instruction = subject.instruction();
      List<String> exemplars = List.of();
      if (written.isPresent()) {
        String[] parts = written.get().text(subject.name).strip().split("\n\n(?=Q: )");
        instruction = parts[0].strip() + "\n\n";
        exemplars = exemplars(file, subject.name, parts);
        if (exemplars.size() < wanted) {
          Rows.shots(wanted, options.shots().isPresent(), exemplars.size(), subject.name);
          fewer.add(subject.name + " (" + exemplars.size() + ")");
        }
        exemplars = exemplars.subList(0, Math.min(wanted, exemplars.size()));
      }
      for (Row row : subject.rows) {
        Prompt prompt = new Prompt(instruction, exemplars, askToReason(row));
        List<String> letter = List.of(LETTERS.get(answer(row)));
        double chance = 1.0 / LETTERS.size();
        all.add(new Question.Open(row.where(), subject.name, prompt, letter, chance));
      }
    }
    Scoring scoring =
        new Scoring.Writing(
            List.of("\n\n", "Q:"),
            options.maxNewTokens().orElse(REASONING_TOKENS),
            List.of(
                new Scoring.Metric(
                    "exact_match",
                    "the letter behind 'the answer is' is the right one",
                    AnswerText::letterAfterMarker,
                    (references, answer) -> references.contains(answer) ? 1 : 0)));
    List<String> notes =
        fewer.isEmpty()
            ? List.of()
            : List.of("fewer than " + wanted + " exemplars: " + String.join(", ", fewer));
    return paper("mmlu_cot_" + split, split, wanted, scoring, all, notes);
  }

  /** What stands behind the instruction, checked to be answered as a question will be. */
  private static List<String> exemplars(Path file, String subject, String[] parts) {
    List<String> exemplars = new ArrayList<>();
    for (int i = 1; i < parts.length; i++) {
      if (!parts[i].contains(THINK) || AnswerText.letterAfterMarker(parts[i]).isEmpty()) {
        throw new UserError(
            "%s: '%s', exemplar %d: needs '%s' and 'the answer is (LETTER)'"
                .formatted(file, subject, i, THINK));
      }
      exemplars.add(parts[i].strip() + "\n\n");
    }
    return exemplars;
  }

  private static Paper paper(
      String name,
      String split,
      int shots,
      Scoring scoring,
      List<Question> questions,
      List<String> notes) {
    return new Paper(
        name, split, shots, Paper.Mean.OF_GROUPS, List.of(), scoring, questions, notes);
  }

  private static Path dev(Path root, String subject) {
    return Rows.required(
        root.resolve("dev").resolve(subject + "_dev.csv"), "the exemplars of " + subject);
  }

  /** The rows of a file, at least one, whichever of the two forms it has. */
  private static List<Row> rows(Path file) {
    List<Row> rows = Rows.csv(file, FIELDS);
    boolean header = rows.get(0).text("answer").equals("answer");
    if (header && rows.size() == 1) {
      throw new UserError(file + ": no row behind the header");
    }
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

  private static String askToReason(Row row) {
    StringBuilder text = new StringBuilder("Q: " + row.text("question").strip() + "\n");
    for (int i = 0; i < LETTERS.size(); i++) {
      String choice = row.text("choice" + i).strip();
      text.append('(').append(LETTERS.get(i)).append(") ").append(choice);
      text.append(i + 1 < LETTERS.size() ? " " : "\n");
    }
    return text + THINK;
  }

  private static int answer(Row row) {
    int letter = LETTERS.indexOf(row.text("answer").strip());
    return letter >= 0 ? letter : row.index("answer", LETTERS.size());
  }
}
