package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.eval.metric.AnswerText;
import dev.caravan.eval.suite.Rows.Row;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * MGSM (Shi et al. 2022): grade-school mathematics in eleven languages, eight exemplars with native
 * reasoning. mgsm_XX.tsv has question and number; exemplars_XX.tsv question and worked answer.
 * Where a language has no exemplars it is asked without, and the result says so. Unweighted mean
 * over languages other than English, as FLAN reports it; English beside it.
 */
final class Mgsm implements Suite {
  private static final int SHOTS = 8;
  private static final int TOKENS = 256;
  private static final List<String> ENGLISH = List.of("en");

  /** What a question, a worked answer begin with. */
  private record Labels(String question, String answer) {}

  private static final Map<String, Labels> LABELS = new LinkedHashMap<>();

  static {
    LABELS.put("bn", new Labels("প্রশ্ন:", "ধাপে ধাপে উত্তর:"));
    LABELS.put("de", new Labels("Frage:", "Schritt-für-Schritt-Antwort:"));
    LABELS.put("en", new Labels("Question:", "Step-by-Step Answer:"));
    LABELS.put("es", new Labels("Pregunta:", "Respuesta paso a paso:"));
    LABELS.put("fr", new Labels("Question :", "Réponse étape par étape :"));
    LABELS.put("ja", new Labels("問題:", "ステップごとの答え:"));
    LABELS.put("ru", new Labels("Задача:", "Пошаговое решение:"));
    LABELS.put("sw", new Labels("Swali:", "Jibu la Hatua kwa Hatua:"));
    LABELS.put("te", new Labels("ప్రశ్న:", "దశలవారీగా సమాధానం:"));
    LABELS.put("th", new Labels("โจทย์:", "คำตอบทีละขั้นตอน:"));
    LABELS.put("zh", new Labels("问题:", "逐步解答:"));
  }

  @Override
  public String name() {
    return "mgsm";
  }

  @Override
  public String line() {
    return "8-shot with native reasoning where exemplars_XX.tsv is there, last number";
  }

  @Override
  public List<Paper> read(Path data, SuiteOptions options) {
    Path root = Rows.folder(data, "mgsm");
    int wanted = options.shots().orElse(SHOTS);
    List<Question> questions = new ArrayList<>();
    List<String> without = new ArrayList<>();
    List<String> languages = new ArrayList<>();
    for (Path file : Rows.files(root, n -> n.matches("mgsm_[a-z]+\\.tsv"), "mgsm_XX.tsv")) {
      String language = file.getFileName().toString().replaceAll("^mgsm_|\\.tsv$", "");
      Labels labels = LABELS.get(language);
      if (labels == null) {
        throw new UserError(
            file
                + ": unknown language '"
                + language
                + "'; known: "
                + String.join(", ", LABELS.keySet()));
      }
      languages.add(language);
      List<String> exemplars = exemplars(file, language, labels, wanted);
      if (exemplars.isEmpty() && wanted > 0) {
        without.add(language);
      }
      for (Row row : Rows.first(Rows.tsv(file, "question", "answer"), options.limit())) {
        String number = AnswerText.plain(row.text("answer"));
        if (!number.matches("-?[0-9.]+")) {
          throw row.error("the answer is '" + row.text("answer") + "', needs a number");
        }
        Prompt prompt = new Prompt("", exemplars, ask(labels, row.text("question")));
        questions.add(new Question.Open(row.where(), language, prompt, List.of(number)));
      }
    }
    if (!without.isEmpty() && (options.shots().isPresent() || without.size() < languages.size())) {
      throw new UserError(
          root
              + ": no exemplars_XX.tsv (question, worked answer) for "
              + String.join(", ", without)
              + "; --shots 0 asks without");
    }
    List<String> notes =
        without.isEmpty()
            ? List.of()
            : List.of(
                "no exemplars in the folder (exemplars_XX.tsv): asked with 0 instead of "
                    + wanted
                    + " shots, which is not the published protocol");
    Scoring scoring =
        new Scoring.Writing(
            List.of("\n\n"),
            options.maxNewTokens().orElse(TOKENS),
            List.of(
                new Scoring.Metric(
                    "exact_match",
                    "the last number written is the right one",
                    AnswerText::lastNumber,
                    (references, answer) -> references.contains(answer) ? 1 : 0)));
    boolean onlyEnglish = languages.equals(ENGLISH);
    return List.of(
        new Paper(
            "mgsm_test",
            "test",
            without.isEmpty() ? wanted : 0,
            Paper.Mean.OF_GROUPS,
            onlyEnglish ? List.of() : ENGLISH,
            scoring,
            questions,
            notes));
  }

  private static List<String> exemplars(
      Path questions, String language, Labels labels, int wanted) {
    Path file = questions.resolveSibling("exemplars_" + language + ".tsv");
    if (wanted == 0 || !Files.isRegularFile(file)) {
      return List.of();
    }
    List<Row> rows = Rows.tsv(file, "question", "answer");
    if (rows.size() < wanted) {
      throw new UserError(file + ": " + rows.size() + " exemplars, needs " + wanted);
    }
    return rows.subList(0, wanted).stream()
        .map(row -> ask(labels, row.text("question")) + " " + row.text("answer").strip() + "\n\n")
        .toList();
  }

  private static String ask(Labels labels, String question) {
    return labels.question + " " + question.strip() + "\n" + labels.answer;
  }
}
