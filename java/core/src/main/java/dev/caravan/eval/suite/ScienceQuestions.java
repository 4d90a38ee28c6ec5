package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * ARC (Clark et al. 2018) and OpenBookQA (Mihaylov et al. 2018): "Question: ... Answer:", and the
 * options' texts are ranked. Rows are the published jsonl (question.stem, question.choices,
 * answerKey) or instruction rows.
 */
final class ScienceQuestions implements Suite {
  private final String name;
  private final List<String> sets;

  private ScienceQuestions(String name, List<String> sets) {
    this.name = name;
    this.sets = sets;
  }

  static List<Suite> all() {
    return List.of(
        new ScienceQuestions("arc", List.of("ARC-Easy", "ARC-Challenge")),
        new ScienceQuestions("openbookqa", List.of("openbookqa", "OpenBookQA")));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String line() {
    return "0-shot (--shots N from train), likeliest option: "
        + (name.equals("arc") ? "per character" : "over that behind 'Answer:'")
        + "; plain, per token, per byte besides";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "commonsense");
    List<Paper> papers = new ArrayList<>();
    List<Path> there = sets.stream().map(root::resolve).filter(Files::isDirectory).toList();
    for (Path folder : there.isEmpty() ? List.of(root) : there) {
      papers.add(paper(folder, options));
    }
    return papers;
  }

  private Paper paper(Path folder, SuiteOptions options) {
    String split = options.split().orElse("test");
    List<String> exemplars = new ArrayList<>();
    int shots = options.shots().orElse(0);
    if (shots > 0) {
      List<Item> train = items(file(folder, "train"));
      Rows.shots(shots, true, train.size(), folder + ", train");
      train.subList(0, shots).forEach(i -> exemplars.add(i.ask() + i.right() + "\n\n"));
    }
    List<Question> questions = new ArrayList<>();
    for (Item item : Rows.first(items(file(folder, split)), options.limit())) {
      questions.add(
          new Question.Choice(
              item.where,
              "",
              new Prompt("", exemplars, item.ask()),
              item.options.stream().map(o -> Question.Option.of(" " + o)).toList(),
              item.answer));
    }
    return Paper.of(title(folder) + "_" + split, split, shots, ranking(), questions);
  }

  private Scoring ranking() {
    Scoring.Likelihood usual =
        name.equals("arc") ? Scoring.Likelihood.PER_CHARACTER : Scoring.Likelihood.OVER_ANSWER;
    List<Scoring.Likelihood> measures = new ArrayList<>(List.of(usual));
    for (Scoring.Likelihood other : Scoring.Likelihood.values()) {
      if (other != usual) {
        measures.add(other);
      }
    }
    return Scoring.Ranking.accuracy(measures);
  }

  private String title(Path folder) {
    String set = folder.getFileName().toString().toLowerCase(java.util.Locale.ROOT);
    return set.startsWith("arc-") ? set.replace('-', '_') : name;
  }

  private static Path file(Path folder, String split) {
    return Rows.files(
            folder,
            n -> Rows.isData(n) && n.toLowerCase(java.util.Locale.ROOT).contains(split),
            split + " file (.json or .jsonl)")
        .get(0);
  }

  private record Item(String question, List<String> options, int answer, String where) {
    String ask() {
      return "Question: " + question + "\nAnswer:";
    }

    String right() {
      return " " + options.get(answer);
    }
  }

  private static List<Item> items(Path file) {
    List<Item> items = new ArrayList<>();
    for (Row row : Rows.of(file)) {
      items.add(InstructionRow.is(row) ? instruction(row) : published(row));
    }
    return items;
  }

  private static Item instruction(Row row) {
    InstructionRow read = InstructionRow.of(row);
    if (read.options().size() < 2) {
      throw row.error("fewer than two options");
    }
    return new Item(read.question(), read.options(), read.answer(), row.where());
  }

  private static Item published(Row row) {
    JsonNode question = row.tree("question");
    List<String> options = new ArrayList<>();
    int answer = -1;
    for (JsonNode choice : question.path("choices")) {
      if (choice.path("label").asText().equals(row.text("answerKey"))) {
        answer = options.size();
      }
      options.add(choice.path("text").asText());
    }
    if (options.size() < 2 || answer < 0) {
      throw new UserError(row.where() + ": no choice has the label of 'answerKey'");
    }
    return new Item(question.path("stem").asText(), options, answer, row.where());
  }
}
