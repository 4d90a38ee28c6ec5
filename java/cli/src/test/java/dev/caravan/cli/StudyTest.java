package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.study.Study;
import dev.caravan.study.StudyFile;
import dev.caravan.study.StudyRun;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.log.Progress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Studies of models so small that a cell takes a moment. */
class StudyTest {
  private static final DeviceChoice CPU = DeviceChoice.of("cpu", 2);

  private static final String MODEL =
      "{model_type: llama, vocab_size: 2048, hidden_size: 16, intermediate_size: 16,"
          + " num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1,"
          + " max_position_embeddings: 64, rms_norm_eps: 1e-5, tie_word_embeddings: true,"
          + " bos_token_id: 1, eos_token_id: 2}";

  @TempDir static Path data;

  @TempDir Path dir;

  private static String tokenizer;

  @BeforeAll
  static void write() throws IOException {
    String copy = data.resolve("study.yaml").toString();
    assertEquals(0, Captured.run("recipes", "copy", "quickstart", copy).code());
    tokenizer = data.resolve("study-data/tokenizer.json").toString();
    for (String task : List.of("one", "two", "steps", "apart", "unseen")) {
      StringBuilder rows = new StringBuilder();
      for (int i = 0; i < 6; i++) {
        rows.append("{\"prompt\": \"%s %d?\", \"target\": \"%d\"}\n".formatted(task, i, i));
      }
      Files.writeString(data.resolve(task + ".jsonl"), rows);
    }
    StringBuilder text = new StringBuilder();
    StringBuilder raw = new StringBuilder();
    for (int i = 0; i < 30; i++) {
      String good = "{\"text\": \"The river %d runs to the sea.\"}\n".formatted(i);
      text.append(good);
      raw.append(good.replace("river", "brook"));
      raw.append("{\"text\": \"Buy %d now, click here!\"}\n".formatted(i));
    }
    Files.writeString(data.resolve("curated.jsonl"), text);
    Files.writeString(data.resolve("raw.jsonl"), raw);
  }

  private static String file(String name) {
    return "\"" + data.resolve(name + ".jsonl") + "\"";
  }

  private String tasks() {
    return """
        study: tasks
        tasks: {one: %s, two: %s}
        counts: [0, 1, 2]
        reasoning_tasks: {steps: %s}
        reasoning: [false, true]
        held_out: {apart: %s}
        also: {unseen: %s}
        seeds: [1, 2]
        models:
          tiny: {model: {config: %s, seed: 1}}
          based:
            pretrain:
              model: {config: %s}
              tokenizer: %s
              data: {path: %s, format: text}
              sequence: {length: 16}
              train: {steps: 2, tokens_per_step: 64}
        run:
          tokenizer: %s
          data: {format: prompt}
          sequence: {length: 32}
          train: {steps: 3, examples_per_step: 2}
        output: %s
        """
        .formatted(
            file("one"),
            file("two"),
            file("steps"),
            file("apart"),
            file("unseen"),
            MODEL,
            MODEL,
            tokenizer,
            file("curated"),
            tokenizer,
            dir.resolve("out"));
  }

  private String quality() {
    return """
        study: quality
        filter: {curated: %s, raw: [%s], alpha: 2, bits: 12}
        models:
          tiny: {model: {config: %s}}
        run:
          tokenizer: %s
          sequence: {length: 16}
          train: {steps: 2, tokens_per_step: 64}
          eval: {data: %s}
        output: %s
        """
        .formatted(
            file("curated"), file("raw"), MODEL, tokenizer, file("curated"), dir.resolve("out"));
  }

  private static boolean run(String yaml, List<String> said, BooleanSupplier stop) {
    Study study = StudyFile.parse(yaml, "test", "test");
    return StudyRun.run(study, new StudyRun.Context(CPU, () -> Progress.SILENT, said::add, stop));
  }

  /** The table without the column of seconds, which is the last. */
  private List<String> table() throws IOException {
    return Files.readAllLines(dir.resolve("out/results.csv")).stream()
        .map(line -> line.substring(0, line.lastIndexOf(',')))
        .toList();
  }

  @Test
  void everyCellIsTrainedAndScoredOnce() throws IOException {
    List<String> said = new ArrayList<>();
    assertTrue(run(tasks(), said, () -> false));
    List<String> table = table();
    assertEquals(
        "model,parameters,tasks,trained_on,reasoning,seed,last_loss,exact_match apart,"
            + "exact_match unseen,held_out_mean",
        table.get(0));
    // Of each model: as it is once; 5 others with two seeds.
    assertEquals(1 + 2 * (1 + 5 * 2), table.size());
    assertTrue(table.stream().anyMatch(l -> l.matches("tiny,\\d+,2,one; two; steps,true,2,.*")));
    assertTrue(
        table.stream().anyMatch(l -> l.matches("based,\\d+,0,,false,1,null,.*")), "" + table);
    String plot = Files.readString(dir.resolve("out/plot.svg"));
    assertEquals(4, plot.split("<polyline").length - 1);
    assertTrue(plot.contains("based, with reasoning"), plot);
    assertFalse(Files.exists(dir.resolve("out/cells/tiny-1-tasks-seed-1/run/checkpoints")));

    Path result = dir.resolve("out/cells/tiny-1-tasks-seed-1/result.json");
    FileTime written = Files.getLastModifiedTime(result);
    Files.delete(dir.resolve("out/results.csv"));
    assertTrue(run(tasks(), new ArrayList<>(), () -> Files.exists(dir.resolve("out/never"))));
    assertEquals(written, Files.getLastModifiedTime(result));
    assertEquals(table, table());
  }

  /** Stopped again and again in the middle of cells, it ends with the same table. */
  @Test
  void aStoppedStudyGoesOn() throws IOException {
    assertTrue(run(tasks(), new ArrayList<>(), () -> false));
    List<String> whole = table();
    Path other = dir.resolve("other");
    String yaml = tasks().replace(dir.resolve("out").toString(), other.toString());
    int rounds = 0;
    for (boolean complete = false; !complete; rounds++) {
      int[] left = {20};
      complete = run(yaml, new ArrayList<>(), () -> --left[0] < 0);
    }
    assertTrue(rounds > 3, "" + rounds);
    Files.createDirectories(dir.resolve("out"));
    Files.copy(
        other.resolve("results.csv"),
        dir.resolve("out/results.csv"),
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    assertEquals(whole, table());
  }

  @Test
  void otherDataOrSettingsAreRefused() throws IOException {
    String less = tasks().replace("counts: [0, 1, 2]", "counts: [1]").replace("[1, 2]", "[1]");
    assertTrue(run(less, new ArrayList<>(), () -> false));
    UserError e =
        assertThrows(
            UserError.class,
            () -> run(less.replace("steps: 3", "steps: 4"), new ArrayList<>(), () -> false));
    assertTrue(e.getMessage().contains("result.json: made with other settings or data"));
    assertTrue(e.getMessage().contains("remove "), e.getMessage());
  }

  private String mixture() throws IOException {
    Path file = dir.resolve("mix.yaml");
    Files.writeString(
        file,
        """
        tasks:
          one: {path: %s, templates: [qa, plain]}
          two: {path: %s}
          steps: {path: %s}
          apart: {path: %s, templates: qa}
        held_out: [apart]
        """
            .formatted(file("one"), file("two"), file("steps"), file("apart")));
    String yaml = tasks().replaceAll("(?m)^(tasks|held_out|also): .*\n", "");
    return yaml.replaceAll("(?m)^reasoning_tasks: .*", "reasoning_tasks: [steps]")
        .replace("counts: [0, 1, 2]", "counts: [0, 1, 2]\nmixture: " + file + "\nheld_out_rows: 4")
        .replace("  data: {format: prompt}\n", "");
  }

  @Test
  void theTasksMayBeThoseOfAMixture() throws IOException {
    String yaml = mixture().replace("seeds: [1, 2]", "seeds: [1]");
    assertTrue(run(yaml, new ArrayList<>(), () -> false));
    List<String> table = table();
    assertEquals(
        "model,parameters,tasks,trained_on,reasoning,seed,last_loss,exact_match apart,held_out_mean",
        table.get(0));
    assertEquals(1 + 2 * 6, table.size());
    assertTrue(table.stream().anyMatch(l -> l.matches("tiny,\\d+,2,one; two; steps,true,1,.*")));
    String drawn =
        Files.readString(dir.resolve("out/cells/tiny-1-tasks-reasoning-seed-1/run/mixture.json"));
    assertTrue(drawn.contains("\"one\"") && drawn.contains("\"steps\""), drawn);
    assertFalse(drawn.contains("\"two\""), drawn);
    assertTrue(drawn.contains("\"rate\" : 0.5"), drawn);
    UserError unknown =
        assertThrows(
            UserError.class,
            () -> run(yaml.replace("[steps]", "[step]"), new ArrayList<>(), () -> false));
    assertTrue(unknown.getMessage().contains("unknown task of the mixture 'step'"));
    UserError both =
        assertThrows(
            UserError.class, () -> run(yaml + "tasks: {a: b}\n", new ArrayList<>(), () -> false));
    assertTrue(both.getMessage().contains("unknown key 'tasks'"), both.getMessage());
  }

  @Test
  void filteredAndUnfilteredTextGetTheSameSteps() throws IOException {
    List<String> said = new ArrayList<>();
    assertTrue(run(quality(), said, () -> false));
    assertTrue(said.get(0).matches("filter: keeps \\d+ of 60 raw texts; .*"), said.get(0));
    List<String> table = table();
    assertEquals("model,parameters,text,texts,seed,last_loss,held_out_loss", table.get(0));
    assertEquals(3, table.size());
    assertTrue(table.get(1).contains(",unfiltered,60,17,"), table.get(1));
    int kept = Integer.parseInt(table.get(2).split(",")[3]);
    assertTrue(kept > 0 && kept < 60, "" + kept);
    long brooks =
        Files.readAllLines(dir.resolve("out/filter/filtered.jsonl")).stream()
            .filter(line -> line.contains("brook"))
            .count();
    assertTrue(brooks > kept / 2, brooks + " of " + kept);
    assertTrue(Files.readString(dir.resolve("out/plot.svg")).contains("unfiltered"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "study: tasks | study: task | study: got 'task', needs tasks or quality",
        "counts: [0, 1, 2] | counts: [3] | counts: got 3, there are 2 tasks",
        "counts: [0, 1, 2] | count: [1] | unknown key 'count', did you mean 'counts'?",
        "seeds: [1, 2] | seeds: [a] | seeds: got \"a\", needs whole numbers",
        "reasoning: [false, true] | reasoning: perhaps | reasoning: got \"perhaps\", needs true or",
        "reasoning_tasks: | unknown: | unknown key 'unknown'",
        "apart.jsonl | nowhere.jsonl | held_out.apart: ",
        "apart.jsonl | one.jsonl | held_out.apart: trained on too",
        "train: {steps: 3 | train: {stepz: 3 | unknown key 'stepz', did you mean 'steps'?",
      })
  void mistakesAreNamed(String what, String instead, String message) {
    String yaml = tasks().replace(what, instead);
    UserError e = assertThrows(UserError.class, () -> run(yaml, new ArrayList<>(), () -> false));
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertTrue(e.getMessage().matches("(test|study ).*"), e.getMessage());
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
  }

  @Test
  void aHeldOutTaskWithoutARowThatFitsIsRefused() throws IOException {
    String yaml = mixture().replace("seeds: [1, 2]", "seeds: [1]");
    Path apart = dir.resolve("long.jsonl");
    Files.writeString(
        apart, "{\"prompt\": \"" + "word ".repeat(400) + "\", \"target\": \"one\"}\n");
    Path file = dir.resolve("mix.yaml");
    Files.writeString(file, Files.readString(file).replace(file("apart"), "\"" + apart + "\""));
    UserError e = assertThrows(UserError.class, () -> run(yaml, new ArrayList<>(), () -> false));
    assertTrue(
        e.getMessage().contains("held-out task 'apart': no row of it fits the context of"),
        e.getMessage());
  }

  @Test
  void theVerbPrintsWhereTheResultsAre() throws IOException {
    Path yaml = dir.resolve("q.yaml");
    Files.writeString(yaml, quality());
    Path out = dir.resolve("elsewhere");
    Captured run =
        Captured.run("study", yaml.toString(), "--device", "cpu", "--output", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals(out.resolve("results.csv") + "\n" + out.resolve("plot.svg") + "\n", run.out());
    assertTrue(
        run.err().contains("cell 2 of 2: tiny, filtered, seed 17: held-out loss"), run.err());
  }

  @Test
  void theBundledStudiesAreRead() {
    for (String name : List.of("study-tasks", "study-quality")) {
      Recipes.Text text = Recipes.study(name, null);
      Study study = StudyFile.parse(text.yaml(), text.where(), text.name());
      assertTrue(study.models().size() >= 2, name);
      Captured refused = Captured.run("sft", name);
      assertEquals(2, refused.code());
      assertTrue(refused.err().contains("is a study: caravan study " + name), refused.err());
    }
  }
}
