package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Mixtures of tasks that are declared in Java. */
class DeclaredMixtureTest {
  private static final String NAME = "mine";

  @TempDir Path folder;
  private Path tokenizerFile;

  @BeforeEach
  void files() throws IOException {
    tokenizerFile = TestData.copy(folder, "/tokenizers/bpe.bin");
    for (String name : List.of("sums", "echo")) {
      Files.writeString(
          folder.resolve(name + ".jsonl"),
          IntStream.range(0, 30)
              .mapToObj(i -> "{\"q\": \"%s %d\", \"a\": \"%d\"}".formatted(name, i, 2 * i))
              .collect(Collectors.joining("\n")));
    }
  }

  private TaskSpec task(String name) {
    return TaskSpec.of(name, folder.resolve(name + ".jsonl").toString())
        .read(Format.PROMPT, Map.of("prompt", "q", "target", "a"));
  }

  private TaskSpec sums() {
    return task("sums")
        .first(20)
        .worded(
            List.of(
                Templates.pattern("add", "Add {prompt}:", Optional.empty(), " {target}"),
                Templates.pattern("ask", "What is {prompt}?", Optional.empty(), " {target}")),
            TaskSpec.Choice.RANDOM,
            Wording.NONE);
  }

  private Mixture load(MixtureSpec spec) {
    Tokenizer tokenizer = Tokenizers.open(tokenizerFile);
    return Mixture.load(
        spec, tokenizer, RowLimits.ofSequence(60, tokenizer.vocabSize()), 3, true);
  }

  @Test
  void isTheSameAsAFiles() {
    String yaml =
        """
        tasks:
          sums:
            path: sums.jsonl
            format: prompt
            fields: {prompt: q, target: a}
            rows: 20
            choose: random
            templates:
            - {prompt: "Add {prompt}:", target: " {target}"}
            - {prompt: "What is {prompt}?", target: " {target}"}
          echo: {path: echo.jsonl, format: prompt, fields: {prompt: q, target: a}}
        stop: all_exhausted
        mixtures:
          warm: {parts: [sums, echo], cap: 25, temperature: 2}
          both: {parts: {warm: 3, echo: 1}}
        """;
    MixtureSpec declared =
        MixtureSpec.declared(
                NAME,
                List.of(sums(), task("echo")),
                List.of(
                    MixSpec.proportional("warm", List.of("sums", "echo"), 25, 2),
                    MixSpec.rates("both", Map.of("warm", 3.0, "echo", 1.0))),
                "both")
            .with(MixtureSpec.BadRows.STOP, MixtureSpec.Stop.ALL_EXHAUSTED);
    try (Mixture ours = load(declared);
        Mixture files =
            load(MixtureFile.parse(yaml, "m.yaml", path -> folder.resolve(path).toString()))) {
      assertArrayEquals(files.rates(), ours.rates(), 1e-12);
      assertEquals(files.rows().size(), ours.rows().size());
      for (int k = 0; k < 200; k++) {
        assertArrayEquals(files.rows().row(k).inputIds(), ours.rows().row(k).inputIds());
        assertArrayEquals(files.rows().row(k).labels(), ours.rows().row(k).labels());
      }
    }
  }

  @Test
  void whatIsHeldOutIsNotDrawn() {
    MixtureSpec spec =
        MixtureSpec.declared(
            NAME,
            List.of(sums(), task("echo").asHeldOut()),
            List.of(MixSpec.equal("all", List.of("sums"))),
            "all");
    assertEquals(List.of("sums"), spec.trained().stream().map(TaskSpec::name).toList());
    refused("task 'echo' is held out", List.of(MixSpec.equal("all", List.of("sums", "echo"))));
  }

  private void refused(String part, List<MixSpec> mixes) {
    List<TaskSpec> tasks = List.of(sums(), task("echo").asHeldOut(), TaskSpec.of("none"));
    String message =
        assertThrows(UserError.class, () -> MixtureSpec.declared(NAME, tasks, mixes, "all"))
            .getMessage();
    assertTrue(message.startsWith(NAME) && message.contains(part), message);
  }

  @Test
  void refusesWhatAFileMustNotSayEither() {
    refused(
        "contains itself: all > all", List.of(MixSpec.equal("all", List.of("sums", "all"))));
    refused(
        "unknown task or mixture 'sum', did you mean 'sums'?",
        List.of(MixSpec.equal("all", List.of("sum"))));
    refused("task 'none' has no training split", List.of(MixSpec.equal("all", List.of("none"))));
    refused("unknown mixture 'all'", List.of(MixSpec.equal("al", List.of("sums"))));
    refused(
        "'sums' is a task or a mixture already",
        List.of(
            MixSpec.equal("all", List.of("sums")), MixSpec.equal("sums", List.of("sums"))));
    String twice =
        assertThrows(
                UserError.class,
                () -> MixtureSpec.declared(NAME, List.of(sums(), sums()), List.of(), "all"))
            .getMessage();
    assertEquals("mine: two tasks are called 'sums'", twice);
    MixtureSpec bad =
        MixtureSpec.declared(
            NAME,
            List.of(sums()),
            List.of(MixSpec.rates("all", Map.of("sums", Double.NaN))),
            "all");
    assertThrows(UserError.class, () -> load(bad).close());
  }
}
