package dev.caravan.data.doctor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.source.Example;
import dev.caravan.data.source.Format;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OverlapTest {
  private static final String LONG =
      "Natalia sold clips to forty eight of her friends in April and then she sold half as many in"
          + " May. How many clips did she sell altogether?";

  @TempDir Path dir;

  private static Example row(String prompt, String target) {
    return new Example.Fields(Map.of(), prompt, target);
  }

  private static Overlap of(Example... rows) {
    Overlap.Builder builder = new Overlap.Builder();
    for (int i = 0; i < rows.length; i++) {
      builder.add(rows[i], "eval.jsonl:" + (i + 1));
    }
    return builder.build();
  }

  @Test
  void copiesHaveTheSameWords() {
    Overlap evaluation = of(row("Is it so?", "Yes."), row("数学 是 什么", "ok"));
    Overlap.Copy copy = evaluation.find(row("is  it -- so", "YES")).orElseThrow();
    assertEquals(new Overlap.Copy(0, "eval.jsonl:1", 1, true), copy);
    assertTrue(evaluation.find(row("数学是什么?", "OK")).orElseThrow().exact());
    assertTrue(evaluation.find(row("Is it so?", "No.")).isEmpty());
    assertTrue(evaluation.find(row("it is so", "yes")).isEmpty());
    assertTrue(evaluation.find(row("", "...")).isEmpty());
    List<Message> chat =
        List.of(new Message(Role.USER, "Is it so?"), new Message(Role.ASSISTANT, "Yes"));
    assertTrue(evaluation.find(new Example.Chat(chat)).orElseThrow().exact());
    assertTrue(evaluation.find(new Example.Text("is it so yes")).orElseThrow().exact());
  }

  @Test
  void nearCopiesMayStandAnywhereInARow() {
    Overlap evaluation =
        of(row(LONG, "72"), row("Something else that is long enough to tell", "a"));
    String other = LONG.replace("altogether", "in all");
    Overlap.Copy copy = evaluation.find(row("Solve this. " + other, "It is 72.")).orElseThrow();
    assertFalse(copy.exact());
    assertEquals("eval.jsonl:1", copy.where());
    assertTrue(copy.share() >= Overlap.NEAR && copy.share() < 1, "" + copy.share());
    assertTrue(evaluation.find(row(LONG.replace("sold", "gave"), "72")).isEmpty());
  }

  @Test
  void wordsThatAllEvaluationRowsShareSayNothing() {
    String instruction = "Read the sentence below and say whether it is meant well or badly: ";
    Example[] rows =
        IntStream.range(0, 9)
            .mapToObj(i -> row(instruction + "number " + i, "good"))
            .toArray(Example[]::new);
    assertTrue(of(rows).find(row(instruction + "number 77", "good")).isEmpty());
    assertTrue(of(rows).find(rows[3]).orElseThrow().exact());
  }

  /** Against the definition, by sets, on random rows that share many runs. */
  @Test
  void sharesAreThoseOfTheDefinition() {
    Random random = new Random();
    List<String> evaluation = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      evaluation.add(words(random, 5 + random.nextInt(30)));
    }
    Overlap overlap = of(evaluation.stream().map(text -> row(text, "")).toArray(Example[]::new));
    for (int trial = 0; trial < 300; trial++) {
      String base = evaluation.get(random.nextInt(60));
      int changed = random.nextInt(3);
      String training = words(random, random.nextInt(4)) + " " + base;
      for (int i = 0; i < changed; i++) {
        training = training.replaceFirst("w" + random.nextInt(4) + " ", "changed ");
      }
      double expected = best(evaluation, training);
      double found = overlap.find(row(training, "")).map(Overlap.Copy::share).orElse(0.0);
      assertEquals(expected >= Overlap.NEAR ? expected : 0, found, 1e-12, training);
    }
  }

  private static String words(Random random, int count) {
    return IntStream.range(0, count)
        .mapToObj(i -> "w" + random.nextInt(4))
        .collect(Collectors.joining(" "));
  }

  private static double best(List<String> evaluation, String training) {
    List<String> same = evaluation.stream().filter(e -> e.equals(training.strip())).toList();
    if (!same.isEmpty()) {
      return 1;
    }
    List<Set<String>> runs = evaluation.stream().map(OverlapTest::runs).toList();
    Set<String> given = runs(training);
    double best = 0;
    for (Set<String> row : runs) {
      Set<String> own =
          row.stream()
              .filter(run -> runs.stream().filter(other -> other.contains(run)).count() <= 2)
              .collect(Collectors.toSet());
      if (own.size() >= 4) {
        double share = (double) own.stream().filter(given::contains).count() / own.size();
        best = Math.max(best, share);
      }
    }
    return best;
  }

  private static Set<String> runs(String text) {
    String[] words = text.strip().split(" +");
    Set<String> runs = new HashSet<>();
    for (int i = 0; i + 5 <= words.length; i++) {
      runs.add(String.join(" ", List.of(words).subList(i, i + 5)));
    }
    return runs;
  }

  @Test
  void trainingOnEvaluationRowsIsSerious() throws IOException {
    Source training = source("train.jsonl", "{\"prompt\": \"a\", \"target\": \"b\"}", LONG);
    Source held = source("eval.jsonl", "{\"prompt\": \"A\", \"target\": \"b.\"}", LONG + " Now!");
    Overlap evaluation = OverlapCheck.evaluation(List.of(held));
    assertEquals(2, evaluation.size());
    List<Finding> findings = OverlapCheck.of(List.of(training), evaluation, "none");
    assertEquals(2, findings.size());
    assertTrue(findings.get(0).isSerious());
    assertTrue(findings.get(0).where().endsWith("train.jsonl:1"), findings.get(0).where());
    assertTrue(findings.get(0).what().startsWith("1 of 2 evaluation rows are also trained on"));
    assertTrue(findings.get(0).what().endsWith("eval.jsonl:1"));
    assertFalse(findings.get(1).isSerious());
    assertTrue(findings.get(1).where().endsWith("train.jsonl:2"));
    assertTrue(findings.get(1).advice().contains("data.drop_copies: near"));
    assertTrue(
        OverlapCheck.of(List.of(training), evaluation, "exact").stream()
            .noneMatch(Finding::isSerious));
    Source other = source("other.jsonl", "{\"prompt\": \"c\", \"target\": \"d\"}", "short");
    assertEquals(List.of(), OverlapCheck.of(List.of(other), evaluation, "none"));
  }

  /** Bad rows of the same line do not hide the ones behind them. */
  @Test
  void rowsBehindBadOnesAreLookedAt() throws IOException {
    Path file = dir.resolve("train.json");
    Files.writeString(
        file,
        "[{\"prompt\": \"a\"}, {\"prompt\": \"a\"}, {\"prompt\": \"a\"}, {\"prompt\": \"c\", \"target\": \"d\"}]");
    Source training = new Source("t", List.of(file.toString()), Format.PROMPT, Map.of(), 0);
    Source held = source("eval.jsonl", "{\"prompt\": \"c\", \"target\": \"d\"}", LONG);
    Overlap evaluation = OverlapCheck.evaluation(List.of(held));
    assertEquals(1, OverlapCheck.of(List.of(training), evaluation, "none").size());
  }

  private Source source(String name, String first, String prompt) throws IOException {
    Path file = dir.resolve(name);
    String second = "{\"prompt\": \"" + prompt + "\", \"target\": \"72\"}";
    Files.writeString(file, first + "\n" + second + "\n{broken\n");
    return new Source(name, List.of(file.toString()), Format.PROMPT, Map.of(), 0);
  }
}
