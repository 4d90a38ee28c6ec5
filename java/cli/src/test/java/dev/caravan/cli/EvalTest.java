package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The verb eval, with the base model of the quick start and with a real one on real questions. */
class EvalTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir static Path dir;

  private static String model;

  @BeforeAll
  static void write() throws IOException {
    assertEquals(
        0,
        Captured.run("recipes", "copy", "quickstart", dir.resolve("quick.yaml").toString()).code());
    model = dir.resolve("quick-data").toString();
    Files.writeString(
        dir.resolve("val.txt"),
        "The two letters for Netherlands are\n1\nNO.\nNL.\nFR.\nIT.\n"
            + "The three letters for the Swedish Krona are\n2\nBND.\nBGN.\nSEK.\nUSD.\n");
    Files.writeString(
        dir.resolve("test.jsonl"), "{\"question\": \"1 and 1?\", \"answer\": \"#### 2\"}\n");
  }

  private static Captured eval(String suite, String data, String... more) {
    String[] args = {"eval", "--model", model, "--device", "cpu", "--suite", suite, "--data", data};
    String[] all = java.util.Arrays.copyOf(args, args.length + more.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return Captured.run(all);
  }

  @Test
  void theReportIsOneJsonObjectWithTheContractsKeys() throws IOException {
    Path out = dir.resolve("report.json");
    Path answers = dir.resolve("answers.jsonl");
    Captured run =
        eval(
            "hellaswag",
            dir.resolve("val.txt").toString(),
            "--json",
            "--out",
            out.toString(),
            "--answers",
            answers.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(1, run.out().lines().count());
    JsonNode report = JSON.readTree(run.out());
    assertEquals(JSON.readTree(out.toFile()), report);
    assertEquals("hellaswag", report.get("suite").asText());
    assertEquals(4, report.get("results").size());
    for (JsonNode result : report.get("results")) {
      for (String key :
          List.of("metric", "value", "n", "split", "shots", "scoring", "prompt_sha256")) {
        assertTrue(result.hasNonNull(key), key);
      }
      assertEquals(2, result.get("n").asInt());
      assertEquals("validation", result.get("split").asText());
    }
    // The base has read both sentences.
    assertEquals(100, report.get("results").get(1).get("value").asDouble());
    List<String> lines = Files.readAllLines(answers);
    assertEquals(2, lines.size());
    assertEquals("NL.", JSON.readTree(lines.get(0)).get("answer").asText());
    assertEquals(
        "The two letters for Netherlands are", JSON.readTree(lines.get(0)).get("prompt").asText());
  }

  @Test
  void reportsAreAveragedOverChance() throws IOException {
    Path out = dir.resolve("to-average.json");
    eval("hellaswag", dir.resolve("val.txt").toString(), "--out", out.toString());
    Captured run = Captured.run("eval", "--average", out.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains(" 100.00 %  normalised average of 1\n"), run.out());
    assertTrue(run.out().contains("not FLAN's: without MMLU"), run.out());
    Captured json = Captured.run("eval", "--average", out.toString(), "--json");
    assertEquals(100, JSON.readTree(json.out()).get("value").asDouble(), 1e-9);
    assertEquals(2, Captured.run("eval", "--average", out.toString(), "--suite", "arc").code());
    assertEquals(
        "caravan: eval: Missing required option: '--suite=NAME'\n",
        Captured.run("eval", "--model", model).err());
    assertTrue(
        eval("hellaswag", dir.resolve("val.txt").toString(), "--categories", "QA")
            .err()
            .contains("only the suite superni"));
  }

  /** Before a question is asked; every one of these would be told hours later, or never. */
  @Test
  void whatASuiteDoesNotKnowIsRefused() {
    String data = dir.resolve("val.txt").toString();
    String[][] refused = {
      {"--split", "test", "--split: got 'test', the suite hellaswag has validation alone"},
      {"--samples", "3", "--samples: the suite hellaswag ranks options, no answer is written"},
      {"--reasoning", "cot", "--reasoning: the suite hellaswag is asked in one way alone"},
      {"--out", dir.resolve("no/where.json").toString(), "where.json: cannot be written: no such"},
      {"--answers", dir.toString(), "is a folder, needs a file"},
    };
    for (String[] option : refused) {
      Captured run = eval("hellaswag", data, option[0], option[1]);
      assertEquals(2, run.code(), run.err());
      assertTrue(run.err().contains(option[2]), run.err());
      assertEquals("", run.out());
    }
    assertEquals(0, eval("hellaswag", data, "--split", "val").code());
  }

  @Test
  void theTableNamesTheProtocol() {
    Captured run = eval("hellaswag", dir.resolve("val.txt").toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("hellaswag_validation_accuracy "), run.out());
    assertTrue(run.out().contains("100.00 %  n 2  0-shot"), run.out());
    assertTrue(run.out().contains("  prompts "), run.out());
  }

  @Test
  void missingExemplarsAreBadInput() {
    Captured run = eval("gsm8k", dir.resolve("test.jsonl").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("train.jsonl: no such file"), run.err());
    assertTrue(run.err().contains("--shots 0 asks without"), run.err());
    Captured without =
        eval("gsm8k", dir.resolve("test.jsonl").toString(), "--shots", "0", "--samples", "2");
    assertEquals(0, without.code(), without.err());
    assertTrue(without.out().contains("majority of 2 samples at temperature 0.7"), without.out());
  }

  @Test
  void aPromptBeyondTheContextIsBadInputWithItsLine() throws IOException {
    Path file = dir.resolve("long.jsonl");
    Files.writeString(
        file, "{\"question\": \"" + "word ".repeat(300) + "\", \"answer\": \"#### 2\"}\n");
    Captured run = eval("gsm8k", file.toString(), "--shots", "0");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("long.jsonl:1: the prompt has "), run.err());
    assertTrue(run.err().contains("the model's context is 128"), run.err());
    assertFalse(run.out().contains("%"), run.out());
  }

  @Test
  void aModelWithoutTokenizerIsBadInput() {
    Captured run =
        Captured.run(
            "eval",
            "--model",
            PublicData.file("weights/stories260K/hf").toString(),
            "--suite",
            "hellaswag",
            "--data",
            dir.resolve("val.txt").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no tokenizer in it"), run.err());
  }

  @Test
  void aRealModelGoesThroughRealQuestions() throws IOException {
    String data = PublicData.file("mmlu").getParent().toString();
    for (String suite :
        List.of(
            "mmlu", "bbh", "mgsm", "tydiqa", "triviaqa", "gsm8k", "hellaswag", "arc", "superni")) {
      Captured run =
          Captured.run(
              "eval",
              "--model",
              PublicData.file("weights/stories260K/hf").toString(),
              "--tokenizer",
              PublicData.file("weights/stories260K/tok512.bin").toString(),
              "--device",
              "cpu",
              "--suite",
              suite,
              "--data",
              data,
              "--limit",
              "1",
              "--max-new-tokens",
              "4",
              "--too-long",
              "skip",
              "--json");
      assertEquals(0, run.code(), run.err());
      JsonNode results = JSON.readTree(run.out()).get("results");
      assertTrue(results.size() >= 1, suite);
      for (JsonNode result : results) {
        double value = result.get("value").asDouble();
        assertTrue(value >= 0 && value <= 100, result.toString());
      }
    }
  }
}
