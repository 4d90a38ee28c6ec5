package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.metric.SquadMatch;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * TyDi QA (Clark et al. 2020), gold passage: the passage with the answer is given, the answer is
 * written. One exemplar of the same language, from the file with 'train' in its name. Files are the
 * gold-passage form (SQuAD's, ids begin with the language) or the primary task's, of which
 * questions with a short answer are taken with their passage. Unweighted mean over languages other
 * than English.
 */
final class TyDiQa implements Suite {
  private static final int TOKENS = 48;
  private static final List<String> ENGLISH = List.of("english");

  @Override
  public String name() {
    return "tydiqa";
  }

  @Override
  public String line() {
    return "gold passage, 1-shot from train where it is there, exact match and F1";
  }

  private record Item(
      String language, String passage, String question, List<String> answers, String where) {
    String ask() {
      return "Passage: " + passage + "\nQuestion: " + question + "\nAnswer:";
    }
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "tydiqa");
    List<Item> items = new ArrayList<>();
    for (Path file :
        Rows.files(root, n -> Rows.isData(n) && n.contains("dev"), "dev file (.json, .jsonl)")) {
      items.addAll(items(file));
    }
    if (items.isEmpty()) {
      throw new UserError(root + ": no question with a short answer in its dev file");
    }
    int wanted = options.shots().orElse(1);
    Map<String, List<String>> exemplars = exemplars(root, wanted);
    List<String> notes = new ArrayList<>();
    if (wanted > 0 && exemplars.isEmpty()) {
      if (options.shots().isPresent()) {
        throw new UserError(
            root + ": no file with 'train' in its name, from which exemplars come; --shots 0");
      }
      notes.add(
          "no train file in the folder: asked with 0 instead of 1 shot, which is not the published"
              + " protocol");
    }
    Map<String, Integer> counts = new LinkedHashMap<>();
    List<Question> questions = new ArrayList<>();
    for (Item item : items) {
      int count = counts.merge(item.language, 1, Integer::sum);
      if (options.limit().isEmpty() || count <= options.limit().getAsInt()) {
        List<String> shown = exemplars.getOrDefault(item.language, List.of());
        if (!exemplars.isEmpty() && shown.size() < wanted) {
          throw new UserError(
              root + ": the train file has no exemplar in " + item.language + "; --shots 0");
        }
        Prompt prompt = new Prompt("", shown, item.ask());
        questions.add(new Question.Open(item.where, item.language, prompt, item.answers));
      }
    }
    Scoring scoring =
        new Scoring.Writing(
            List.of("\n"),
            options.maxNewTokens().orElse(TOKENS),
            List.of(
                Scoring.Metric.ofAll(
                    "exact_match", "SQuAD's exact match, best reference", SquadMatch::exact),
                Scoring.Metric.ofAll("f1", "SQuAD's F1 of words, best reference", SquadMatch::f1)));
    boolean onlyEnglish = counts.keySet().equals(Set.copyOf(ENGLISH));
    return List.of(
        new Paper(
            "tydiqa_goldp_validation",
            "validation",
            exemplars.isEmpty() ? 0 : wanted,
            Paper.Mean.OF_GROUPS,
            onlyEnglish ? List.of() : ENGLISH,
            scoring,
            questions,
            notes));
  }

  private static Map<String, List<String>> exemplars(Path root, int wanted) {
    Map<String, List<String>> exemplars = new LinkedHashMap<>();
    Path folder = Files.isRegularFile(root) ? root.toAbsolutePath().getParent() : root;
    Optional<Path> train =
        Rows.files(folder, Rows::isData, "file").stream()
            .filter(file -> file.getFileName().toString().contains("train"))
            .findFirst();
    if (wanted > 0 && train.isPresent()) {
      for (Item item : items(train.get())) {
        List<String> shown = exemplars.computeIfAbsent(item.language, l -> new ArrayList<>());
        if (shown.size() < wanted) {
          shown.add(item.ask() + " " + item.answers.get(0) + "\n\n");
        }
      }
    }
    return exemplars;
  }

  private static List<Item> items(Path file) {
    List<Item> items = new ArrayList<>();
    for (Row row : Rows.of(file)) {
      if (row.fields().has("data")) {
        for (Row article : row.rows("data")) {
          for (Row paragraph : article.rows("paragraphs")) {
            paragraph.rows("qas").forEach(q -> items.add(goldPassage(paragraph, q)));
          }
        }
      } else {
        primary(row).ifPresent(items::add);
      }
    }
    return items;
  }

  private static Item goldPassage(Row paragraph, Row question) {
    Set<String> answers = new LinkedHashSet<>();
    question.rows("answers").forEach(answer -> answers.add(answer.text("text")));
    if (answers.isEmpty()) {
      throw question.error("no answer");
    }
    String language = question.text("id").replaceFirst("-.*$", "");
    return new Item(
        language,
        paragraph.text("context").strip(),
        question.text("question").strip(),
        List.copyOf(answers),
        question.where());
  }

  /** Empty where no annotator found a short answer. Offsets are bytes of the document's UTF-8. */
  private static Optional<Item> primary(Row row) {
    byte[] document = row.text("document_plaintext").getBytes(StandardCharsets.UTF_8);
    Set<String> answers = new LinkedHashSet<>();
    int passage = -1;
    for (JsonNode annotation : row.tree("annotations")) {
      JsonNode minimal = annotation.path("minimal_answer");
      int start = minimal.path("plaintext_start_byte").asInt(-1);
      int end = minimal.path("plaintext_end_byte").asInt(-1);
      int candidate = annotation.path("passage_answer").path("candidate_index").asInt(-1);
      if (start >= 0 && candidate >= 0 && (passage < 0 || passage == candidate)) {
        passage = candidate;
        answers.add(slice(row, document, start, end));
      }
    }
    if (passage < 0) {
      return Optional.empty();
    }
    JsonNode bounds = row.tree("passage_answer_candidates").path(passage);
    String text =
        slice(
            row,
            document,
            bounds.path("plaintext_start_byte").asInt(-1),
            bounds.path("plaintext_end_byte").asInt(-1));
    return Optional.of(
        new Item(
            row.text("language"),
            text.strip(),
            row.text("question_text").strip(),
            List.copyOf(answers),
            row.where()));
  }

  private static String slice(Row row, byte[] document, int start, int end) {
    if (start < 0 || end < start || end > document.length) {
      throw row.error("bytes " + start + " to " + end + " are outside the document");
    }
    return new String(Arrays.copyOfRange(document, start, end), StandardCharsets.UTF_8);
  }
}
