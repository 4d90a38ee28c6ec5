package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BeforeAndAfterTest {
  @TempDir Path dir;

  private JsonNode report(String run) throws IOException {
    return new ObjectMapper().readTree(dir.resolve(run).resolve("report.json").toFile());
  }

  private static void closes(Captured run, JsonNode report) {
    List<String> lines = run.out().lines().toList();
    assertEquals(
        List.of(
            "exact match before: " + report.get("exact_match_before").asText() + " %",
            "exact match after: " + report.get("exact_match_after").asText() + " %"),
        lines.subList(lines.size() - 2, lines.size()));
  }

  @Test
  void theQuickStartTeachesToAnswer() throws IOException {
    Captured run =
        Captured.run(
            "sft", "quickstart", "--device", "cpu", "--set", "output=" + dir.resolve("quick"));
    assertEquals(0, run.code(), run.err());
    JsonNode report = report("quick");
    closes(run, report);
    for (String set : List.of("facts", "phrasings")) {
      JsonNode measured = report.get("sets").get(set);
      assertTrue(measured.get("instructions").asInt() >= 200, measured.toString());
      assertTrue(measured.get("exact_match_before").asDouble() <= 10, measured.toString());
      assertTrue(measured.get("exact_match_after").asDouble() >= 50, measured.toString());
    }
  }

  @Test
  void anyRecipeMayAsk() throws IOException {
    Path rows = dir.resolve("asked.jsonl");
    Files.writeString(
        rows,
        "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"hot\", \"output\": \"cold\"}\n"
            + "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"big\", \"output\": \"never\"}\n");
    Captured run =
        Captured.run(
            TrainTest.arguments(
                "sft", dir.resolve("run"), 3, "eval.exact_match={learnt: " + rows + "}"));
    assertEquals(0, run.code(), run.err());
    closes(run, report("run"));
    assertTrue(run.out().contains("Before training:\n"), run.out());
    assertTrue(run.out().contains("learnt: 2 instructions, exact match before "), run.out());
    assertEquals(2, report("run").get("sets").get("learnt").get("instructions").asInt());
  }

  @Test
  void rightAnswersAreCounted() throws IOException {
    Path model = dir.resolve("whole");
    String[] whole =
        TrainTest.arguments(
            "sft", model, 240, "optimizer.schedule=cosine", "checkpoint.every_steps=240");
    Captured trained = Captured.run(whole);
    assertEquals(0, trained.code(), trained.err());
    Path rows = dir.resolve("asked.jsonl");
    Files.writeString(
        rows,
        "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"hot\", \"output\": \"cold\"}\n"
            + "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"big\", \"output\": \"never\"}\n");
    Captured again =
        Captured.run(
            TrainTest.arguments(
                "sft",
                model,
                240,
                "optimizer.schedule=cosine",
                "checkpoint.every_steps=240",
                "eval.exact_match={learnt: " + rows + "}"));
    assertEquals(0, again.code(), again.err());
    assertTrue(again.err().contains("complete, 240 steps are done"), again.err());
    assertEquals(0, report("whole").get("exact_match_before").asDouble());
    assertEquals(50, report("whole").get("exact_match_after").asDouble());
    closes(again, report("whole"));
  }

  /** An answer that is half of what is expected is wrong, and half right by ROUGE-L. */
  @Test
  void heldOutTasksAreScoredByWhatTheyName() throws IOException {
    Captured.run("recipes", "copy", "first-run", dir.resolve("first.yaml").toString());
    Path held = dir.resolve("held.jsonl");
    Files.writeString(
        held,
        "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"hot\", \"output\": \"cold and wet\"}\n");
    Path longer = dir.resolve("longer.jsonl");
    Files.writeString(
        longer, "{\"instruction\": \"" + "why ".repeat(300) + "\", \"output\": \"so\"}\n");
    Path mixture = dir.resolve("mix.yaml");
    Files.writeString(
        mixture,
        """
        tasks:
          learnt: {path: %s}
          half: {path: %s, metrics: [rouge_l]}
          longer: {path: %s}
        held_out: [half, longer]
        """
            .formatted(dir.resolve("first-data/rows.jsonl"), held, longer));
    Captured run =
        Captured.run(
            TrainTest.arguments(
                "sft",
                dir.resolve("run"),
                240,
                "data={mixture: " + mixture + "}",
                "optimizer.schedule=cosine",
                "checkpoint.every_steps=240",
                "eval={held_out_rows: 1, exact_match_held_out: true, exact_match_at_checkpoints: true}"));
    assertEquals(0, run.code(), run.err());
    String without =
        "1 of 2 held-out tasks have no row that fits sequence.length 128 whole: longer";
    assertTrue(run.err().contains(without), run.err());
    JsonNode set = report("run").get("sets").get("half");
    assertEquals(0, set.get("exact_match_after").asDouble());
    assertEquals(50, set.get("rouge_l_after").asDouble(), run.out());
    assertTrue(run.out().contains("ROUGE-L before 0.0 %, after 50.0 %\n"), run.out());
    List<String> lines = Files.readAllLines(dir.resolve("run/metrics.jsonl"));
    assertTrue(
        lines.contains("{\"step\":240,\"exact_match\":{\"half\":0.0},\"rouge_l\":{\"half\":50.0}}"),
        lines.get(lines.size() - 1));
    closes(run, report("run"));
  }

  /**
   * The word that is learnt is the likeliest of the options, so a row is wrong whose answer is
   * another; the last two rows are too long to ask.
   */
  @Test
  void optionsAreRankedWhereATaskNamesIt() throws IOException {
    Captured.run("recipes", "copy", "first-run", dir.resolve("first.yaml").toString());
    Path held = dir.resolve("held.jsonl");
    String row =
        "{\"instruction\": \"%s\", \"input\": \"%s\", \"output\": \"%s\"}\n";
    String ask = "Give the opposite of the word.";
    Files.writeString(
        held,
        row.formatted("why ".repeat(300), "hot", "cold")
            + row.formatted(ask, "hot", "cold")
            + row.formatted(ask, "big", "small")
            + row.formatted(ask, "tall", "short")
            + row.formatted(ask, "hot", "short")
            + row.formatted("why ".repeat(300), "hot", "cold"));
    String alpaca =
        "Below is an instruction that describes a task, paired with an input that provides further"
            + " context. Write a response that appropriately completes the request.\\n\\n"
            + "### Instruction:\\n{instruction}\\n\\n### Input:\\n{input}\\n\\n### Response:{options}";
    Path mixture = dir.resolve("mix.yaml");
    Files.writeString(
        mixture,
        """
        tasks:
          learnt: {path: %s}
          choice:
            path: %s
            templates:
              prompt: "%s"
              target: "{output}"
            options: {list: [small, cold, short], answer: output, share: 0}
            metrics: [accuracy, accuracy_per_token]
        held_out: [choice]
        """
            .formatted(dir.resolve("first-data/rows.jsonl"), held, alpaca));
    Captured run =
        Captured.run(
            TrainTest.arguments(
                "sft",
                dir.resolve("run"),
                480,
                "data={mixture: " + mixture + "}",
                "optimizer.schedule=cosine",
                "checkpoint.every_steps=480",
                "eval={held_out_rows: 9, exact_match_held_out: true, exact_match_at_checkpoints: true}"));
    assertEquals(0, run.code(), run.err());
    JsonNode set = report("run").get("sets").get("choice");
    assertEquals(4, set.get("instructions").asInt());
    assertEquals(2, set.get("too_long").asInt());
    for (String metric : List.of("exact_match", "accuracy", "accuracy_per_token")) {
      assertEquals(75, set.get(metric + "_after").asDouble(), metric + ": " + run.out());
    }
    assertEquals(0, set.get("exact_match_before").asDouble());
    assertTrue(set.get("accuracy_before").asDouble() < 100, set.toString());
    assertTrue(run.out().contains("choice: 4 instructions (2 too long), "), run.out());
    List<String> lines = Files.readAllLines(dir.resolve("run/metrics.jsonl"));
    assertTrue(
        lines.contains(
            "{\"step\":480,\"accuracy\":{\"choice\":75.0},\"accuracy_per_token\":{\"choice\":75.0},"
                + "\"exact_match\":{\"choice\":75.0}}"),
        lines.get(lines.size() - 1));
    closes(run, report("run"));
  }

  @Test
  void instructionsWithoutAnAnswerAreRefusedBeforeAnythingIsWritten() throws IOException {
    Path rows = dir.resolve("asked.jsonl");
    Files.writeString(rows, "{\"input_ids\": [1, 5, 6], \"labels\": [-100, -100, -100]}\n");
    Captured run =
        Captured.run(
            TrainTest.arguments(
                "sft",
                dir.resolve("run"),
                3,
                "data.format=auto",
                "eval.exact_match={a: " + rows + "}"));
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains(rows + ":1: needs a prompt and an answer"), run.err());
    assertFalse(Files.exists(dir.resolve("run")));
  }

  /** Held-out tasks are evaluated each by itself on the way, and every checkpoint answers. */
  @Test
  void tasksAreEvaluatedInTheLoop() throws IOException {
    String row =
        "{\"instruction\": \"Give the opposite of the word.\", \"input\": \"%s\", \"output\": \"%s\"}\n";
    Path one = dir.resolve("one.jsonl");
    Path two = dir.resolve("two.jsonl");
    Files.writeString(one, row.formatted("hot", "cold") + row.formatted("wet", "dry"));
    Files.writeString(two, row.formatted("big", "small"));
    Captured run =
        Captured.run(
            TrainTest.arguments(
                "sft",
                dir.resolve("run"),
                4,
                "eval.tasks={first task: %s, second task: %s}".formatted(one, two),
                "eval.every_steps=2",
                "eval.exact_match={asked: %s}".formatted(two),
                "eval.exact_match_at_checkpoints=true",
                "checkpoint.every_steps=3"));
    assertEquals(0, run.code(), run.err());
    List<JsonNode> lines = new ArrayList<>();
    for (String line : Files.readAllLines(dir.resolve("run/metrics.jsonl"))) {
      lines.add(new ObjectMapper().readTree(line));
    }
    for (String task : List.of("first task", "second task")) {
      List<JsonNode> of =
          lines.stream().filter(line -> line.path("task").asText().equals(task)).toList();
      assertEquals(List.of(2, 4), of.stream().map(line -> line.get("step").asInt()).toList());
      assertTrue(of.get(0).get("task_loss").asDouble() > 0);
      assertTrue(of.get(0).get("task_targets").asLong() > 0);
      assertFalse(of.get(0).has("loss"));
    }
    List<JsonNode> exams = lines.stream().filter(line -> line.has("exact_match")).toList();
    assertEquals(List.of(3, 4), exams.stream().map(line -> line.get("step").asInt()).toList());
    assertTrue(exams.get(0).get("exact_match").has("asked"));
    assertTrue(run.err().contains("task first task: loss "), run.err());

    Captured wrong =
        Captured.run(
            TrainTest.arguments(
                "sft", dir.resolve("other"), 2, "eval.exact_match_at_checkpoints=true"));
    assertEquals(2, wrong.code());
    assertTrue(wrong.err().contains("eval.exact_match names no set"), wrong.err());
  }
}
