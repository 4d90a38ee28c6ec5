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
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What preview finds in data that trains something else than its owner means. */
class PreviewTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path dir;

  @BeforeEach
  void files() throws IOException {
    rows("train.jsonl", 0, 40);
    rows("held.jsonl", 38, 44);
    rows("other.jsonl", 100, 120);
  }

  private void rows(String name, int from, int to) throws IOException {
    Files.writeString(
        dir.resolve(name),
        IntStream.range(from, to)
            .mapToObj(
                i ->
                    "{\"prompt\": \"Name number %1$d.\", \"target\": \"It is %1$d\"}".formatted(i))
            .collect(Collectors.joining("\n")));
  }

  private Captured preview(String... sets) {
    List<String> arguments = new ArrayList<>(List.of("preview", "first-run"));
    for (String set : sets) {
      arguments.add("--set");
      arguments.add(set.replace("DIR", dir.toString()));
    }
    return Captured.run(arguments.toArray(String[]::new));
  }

  private static JsonNode json(Captured run) throws IOException {
    return JSON.readTree(run.out());
  }

  private Captured json(String... sets) {
    List<String> arguments = new ArrayList<>(List.of("preview", "first-run", "--json"));
    for (String set : sets) {
      arguments.add("--set");
      arguments.add(set.replace("DIR", dir.toString()));
    }
    return Captured.run(arguments.toArray(String[]::new));
  }

  @Test
  void trainingOnEvaluationRowsExitsWithTwo() throws IOException {
    String[] sets = {
      "data.format=prompt", "data.path=DIR/train.jsonl", "eval.data=DIR/held.jsonl"
    };
    Captured text = preview(sets);
    assertEquals(2, text.code(), text.err());
    String joined = text.out().replace('\n', ' ');
    assertTrue(joined.contains("serious: overlap: " + dir + "/train.jsonl:39: 2 of 6"), joined);
    assertTrue(joined.contains("set data.drop_copies: exact"), joined);
    JsonNode found = json(json(sets)).get("findings").get(0);
    assertEquals("serious", found.get("severity").asText());
    assertEquals("overlap", found.get("check").asText());
    assertTrue(found.get("what").asText().endsWith("held.jsonl:1"), found.toString());
  }

  @Test
  void copiesAreLeftOutOnRequest() throws IOException {
    Captured run =
        json(
            "data.format=prompt",
            "data.path=DIR/train.jsonl",
            "eval.data=DIR/held.jsonl",
            "data.drop_copies=exact");
    assertEquals(0, run.code(), run.err() + run.out());
    JsonNode file = json(run).get("files").get(0);
    assertEquals(40, file.get("rows").asInt());
    assertEquals(38, file.get("kept").asInt());
    assertEquals(2, file.get("evaluated_on").asInt());
    Captured all =
        preview(
            "data.format=prompt",
            "data.path=DIR/train.jsonl",
            "eval.data=DIR/train.jsonl",
            "data.drop_copies=exact");
    assertEquals(2, all.code());
    assertTrue(all.err().contains("40 are evaluated on"), all.err());
  }

  @Test
  void anEncoderDecoderIsGivenPairs() throws IOException {
    Files.writeString(
        dir.resolve("mix.yaml"),
        """
        tasks:
          named: {path: DIR/train.jsonl, templates: qa, shots: {count: 3, share: 1}}
          other:
            path: DIR/other.jsonl
            templates: {prompt: "{prompt}", target: "{target}, and so on, and so on"}
        mixtures:
          all: {parts: {named: 3, other: 1}}
        """
            .replace("DIR", dir.toString()));
    String[] sets = {
      "model={family: t5, size: xxl}",
      "data={mixture: DIR/mix.yaml, format: auto}",
      "eval={}",
      "sequence={length: 128, target_length: 20}",
      "train={steps: 6, examples_per_step: 16, micro_batch_tokens: 256}"
    };
    Captured run = json(sets);
    assertEquals(0, run.code(), run.err() + run.out());
    JsonNode tree = json(run);
    JsonNode packing = tree.get("packing");
    assertEquals(96, packing.get("documents").asInt());
    long buffers = packing.get("micro_batches").asLong();
    assertEquals(
        256 * buffers,
        packing.get("source_tokens").asLong() + packing.get("source_padding_tokens").asLong());
    assertEquals(
        40 * buffers,
        packing.get("target_tokens").asLong() + packing.get("target_padding_tokens").asLong());
    assertTrue(tree.get("source_lengths").get("max").asInt() <= 120, tree.toString());
    assertEquals(20, tree.get("target_lengths").get("max").asInt());
    JsonNode other = tree.get("tasks").get(1);
    assertEquals(other.get("examples"), other.get("target_truncated"));
    assertEquals(0, tree.get("tasks").get(0).get("truncated").asInt());
    assertEquals(2, tree.get("first").get(0).get("spans").size());
    Captured text = preview(sets);
    assertTrue(text.out().contains("\na source     "), text.out());
    assertTrue(
        text.out().contains("% of the encoder's 256, ") && text.out().contains("decoder's 40\n"),
        text.out());
  }

  @Test
  void anEncoderDecoderTakesOneFileToo() throws IOException {
    Captured run =
        json(
            "model={family: t5, size: small}",
            "data={path: DIR/train.jsonl, format: prompt}",
            "eval={}",
            "sequence={length: 64, target_length: 32}",
            "train={epochs: 1, tokens_per_step: 200}");
    assertEquals(0, run.code(), run.err() + run.out());
    JsonNode tree = json(run);
    assertEquals("data", tree.get("tasks").get(0).get("task").asText());
    assertEquals(40, tree.get("rows").asInt());
    Captured sft = Captured.run("sft", "first-run", "--set", "model={family: t5, size: small}");
    assertEquals(2, sft.code());
    assertTrue(
        sft.err().contains("'t5' is not built yet, only plan knows its shape, and preview"),
        sft.err());
  }

  @Test
  void anEncoderDecoderMayBeAFolder() throws IOException {
    Path config = Files.createDirectories(dir.resolve("t5")).resolve("config.json");
    String[] sets = {
      "model={path: DIR/t5}",
      "data={path: DIR/train.jsonl, format: prompt}",
      "eval={}",
      "sequence={length: 64, target_length: 32}",
      "train={epochs: 1, examples_per_step: 10}"
    };
    Files.writeString(config, "{\"model_type\": \"mt5\", \"vocab_size\": 900, \"pad_token_id\": 3}");
    Captured run = json(sets);
    assertEquals(0, run.code(), run.err() + run.out());
    assertEquals(4, json(run).get("packing").get("steps").asInt());
    Files.writeString(config, "{\"model_type\": \"t5\", \"vocab_size\": 9, \"pad_token_id\": 0}");
    Captured small = preview(sets);
    assertEquals(2, small.code());
    assertTrue(small.err().contains("is outside the model's vocabulary of 9"), small.err());
    Files.writeString(config, "{\"model_type\": \"t5\", \"vocab_size\": 900}");
    Captured without = preview(sets);
    assertEquals(2, without.code());
    assertTrue(
        without.err().contains("config.json: pad_token_id: got nothing, needs a whole number"),
        without.err());
  }

  @Test
  void aMixtureShowsEveryPhrasing() throws IOException {
    Files.writeString(
        dir.resolve("mix.yaml"),
        """
        tasks:
          named:
            path: DIR/train.jsonl
            templates:
            - qa
            - {prompt: "Say which: {prompt}\\n", target: "{target}"}
          others: {path: DIR/other.jsonl}
          held: {path: DIR/held.jsonl, held_out: true}
        mixtures:
          all: {parts: {named: 3, others: 1}}
        """
            .replace("DIR", dir.toString()));
    String[] sets = {
      "data={mixture: DIR/mix.yaml, format: auto}", "data.drop_copies=none", "eval={}"
    };
    Captured run = json(sets);
    assertEquals(2, run.code(), run.err());
    JsonNode tree = json(run);
    List<String> shown = new ArrayList<>();
    for (JsonNode phrasing : tree.get("phrasings")) {
      JsonNode spans = phrasing.get("spans");
      assertTrue(spans.get(spans.size() - 1).get("target").asBoolean());
      shown.add(spans.get(0).get("text").asText());
    }
    assertEquals(3, shown.size());
    assertTrue(shown.get(0).contains("Question: Name number 0."), shown.get(0));
    assertTrue(shown.get(1).contains("Say which: Name number 1."), shown.get(1));
    assertTrue(shown.get(2).contains("Name number 100."), shown.get(2));
    assertEquals("named", tree.get("phrasings").get(1).get("task").asText());
    JsonNode named = tree.get("tasks").get(0);
    assertEquals("named", named.get("task").asText());
    assertTrue(named.get("examples").asInt() > 0);
    assertTrue(named.get("lengths").get("median").asInt() > 8, named.toString());
    assertTrue(tree.get("findings").toString().contains("2 of 6 evaluation rows"));
    sets[1] = "data.drop_copies=near";
    JsonNode without = json(json(sets));
    assertEquals(38, without.get("mixture").get("tasks").get(0).get("rows").asInt());
    assertEquals(2, without.get("mixture").get("tasks").get(0).get("evaluated_on").asInt());
    assertEquals(0, without.get("mixture").get("tasks").get(1).get("evaluated_on").asInt());
    assertTrue(preview(sets).out().contains("task named: 2 rows left out, which are evaluated on"));
    for (JsonNode finding : without.get("findings")) {
      assertEquals("warning", finding.get("severity").asText(), finding.toString());
    }
    assertFalse(tree.get("mixture").get("identity").equals(without.get("mixture").get("identity")));
    assertTrue(preview(sets).out().contains("--- task named, template qa\n"));
  }

  @Test
  void aLineBreakThatTheTokenizerDoesNotKeepIsToldOnceATemplate() throws IOException {
    Files.writeString(
        dir.resolve("tokenizer.json"),
        """
        {"version": "1.0", "added_tokens": [
          {"id": 0, "content": "<unk>", "special": true, "single_word": false, "lstrip": false,
           "rstrip": false, "normalized": false},
          {"id": 1, "content": "</s>", "special": true, "single_word": false, "lstrip": false,
           "rstrip": false, "normalized": false}],
         "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
         "decoder": null, "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {
           "<unk>": 0, "</s>": 1, "a": 2, "b": 3, "Question": 4, "Answer": 5, ":": 6, "It": 7}}}
        """);
    String[] sets = {
      "data.format=prompt",
      "data.path=DIR/train.jsonl",
      "data.template=qa",
      "eval.data=DIR/other.jsonl",
      "tokenizer=DIR/tokenizer.json"
    };
    Captured run = json(sets);
    assertEquals(0, run.code(), run.err() + run.out());
    List<JsonNode> found = new ArrayList<>();
    for (JsonNode finding : json(run).get("findings")) {
      if (finding.get("check").asText().equals("template")) {
        found.add(finding);
      }
    }
    assertEquals(1, found.size(), run.out());
    assertEquals("warning", found.get(0).get("severity").asText());
    assertEquals("template 'qa' of " + dir + "/train.jsonl", found.get(0).get("where").asText());
    String what = found.get(0).get("what").asText();
    assertTrue(what.endsWith(": a line break (made a space)"), what);
  }
}
