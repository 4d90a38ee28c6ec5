package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.metric.RougeL;
import dev.caravan.eval.metric.SquadMatch;
import dev.caravan.eval.suite.Rows.Row;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Super-NaturalInstructions (Wang et al. 2022): the first 100 instances of each task of the
 * official test split, asked with the definition and two positive examples, ROUGE-L with stems
 * against the best reference.
 */
final class SuperNaturalInstructions implements Suite {
  private static final int INSTANCES = 100;
  private static final int SHOTS = 2;
  private static final int TOKENS = 128;

  @Override
  public String name() {
    return "superni";
  }

  @Override
  public String line() {
    return "definition and 2 examples, first 100 instances a task, ROUGE-L; --split test|all";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "superni");
    Path tasks = Rows.folder(root, "tasks");
    boolean chosen = !options.tasks().isEmpty() || !options.categories().isEmpty();
    String split = options.split().orElse(chosen ? "all" : "test");
    if (!split.equals("test") && !split.equals("all")) {
      throw new UserError("--split: got '" + split + "', needs test (the official list) or all");
    }
    List<String> notes = new ArrayList<>();
    Set<String> official = split.equals("test") ? official(root, notes) : Set.of();
    int shots = options.shots().orElse(SHOTS);
    List<Question> questions = new ArrayList<>();
    TaskChoice choice = new TaskChoice(options);
    for (Path file : Rows.files(tasks, n -> n.endsWith(".json"), "task file (.json)")) {
      String task = file.getFileName().toString().replaceFirst("\\.json$", "");
      if ((official.isEmpty() || official.contains(task)) && choice.mayBe(task)) {
        Row whole = Rows.of(file).get(0);
        if (choice.has(task, whole.fields().path("Categories"))) {
          questions.addAll(task(whole, task, shots, options));
        }
      }
    }
    choice.requireAll();
    notes.addAll(choice.notes());
    if (questions.isEmpty()) {
      throw new UserError(
          tasks + ": no task of the official test split in it; --split all takes all");
    }
    Scoring scoring =
        new Scoring.Writing(
            List.of("\n\n", "\nInput:"),
            options.maxNewTokens().orElse(TOKENS),
            List.of(
                Scoring.Metric.ofAll(
                    "rouge_l",
                    "ROUGE-L, F-measure, Porter stems, best reference",
                    (references, answer) -> RougeL.best(references, answer, true)),
                Scoring.Metric.ofAll(
                    "exact_match",
                    "equal to a reference without case, punctuation, articles",
                    SquadMatch::exact)));
    return List.of(
        new Paper(
            "superni_" + (chosen ? "chosen_" : "") + split,
            split,
            shots,
            Paper.Mean.OF_QUESTIONS,
            List.of(),
            scoring,
            questions,
            notes));
  }

  private static Set<String> official(Path root, List<String> notes) {
    for (Path list :
        List.of(
            root.resolve("splits/default_test_tasks.txt"),
            root.resolve("splits/default/test_tasks.txt"))) {
      if (Files.isRegularFile(list)) {
        try {
          return new HashSet<>(Files.readAllLines(list).stream().map(String::strip).toList());
        } catch (IOException e) {
          throw new UserError(list + ": cannot be read: " + e.getMessage(), e);
        }
      }
    }
    notes.add("no list of the official test split: every task of the folder is asked");
    return Set.of();
  }

  private static List<Question> task(Row whole, String task, int shots, SuiteOptions options) {
    String definition = definition(whole);
    List<String> examples = new ArrayList<>();
    JsonNode positive = whole.fields().path("Positive Examples");
    for (int i = 0; i < Math.min(shots, positive.size()); i++) {
      examples.add(
          "Positive Example %d -\nInput: %s\nOutput: %s\n\n"
              .formatted(
                  i + 1,
                  positive.get(i).path("input").asText().strip(),
                  positive.get(i).path("output").asText().strip()));
    }
    List<Question> questions = new ArrayList<>();
    List<Row> instances = whole.some("Instances");
    List<Row> first = instances.subList(0, Math.min(INSTANCES, instances.size()));
    for (Row row : Rows.first(first, options.limit())) {
      String query =
          "Now complete the following example -\nInput: " + row.text("input").strip() + "\nOutput:";
      questions.add(
          new Question.Open(
              row.where(),
              task,
              new Prompt("Definition: " + definition + "\n\n", examples, query),
              references(row)));
    }
    return questions;
  }

  /** A list with one text, or in early files the text itself. */
  private static String definition(Row whole) {
    JsonNode definition = whole.fields().path("Definition");
    String text = definition.isArray() ? definition.path(0).asText() : definition.asText();
    if (text.isBlank()) {
      throw whole.error("no Definition; needs a task file of Super-NaturalInstructions");
    }
    return text.strip();
  }

  private static List<String> references(Row row) {
    JsonNode output = row.fields().path("output");
    List<String> references = new ArrayList<>();
    if (output.isArray()) {
      output.forEach(text -> references.add(text.asText()));
    } else if (output.isValueNode()) {
      references.add(output.asText());
    }
    if (references.isEmpty()) {
      throw row.error("no 'output'");
    }
    return references;
  }
}
