package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MixtureFileTest {
  private static final String TASKS =
      """
      tasks:
        a: {path: a.jsonl}
        b: {path: b.jsonl}
        c: {path: c.jsonl}
        d: {test: d.jsonl}
      """;

  @TempDir Path folder;

  private static MixtureSpec parse(String yaml) {
    return MixtureFile.parse(yaml, "mix.yaml", path -> path);
  }

  private static double[] rates(MixtureSpec spec, long... sizes) {
    List<String> names = spec.trained().stream().map(TaskSpec::name).toList();
    return Mixture.rates(spec, names, sizes);
  }

  private static void refused(String yaml, String... parts) {
    String message = assertThrows(UserError.class, () -> parse(yaml)).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(message.startsWith("mix.yaml"), message);
    assertEquals(1, message.lines().count(), message);
  }

  @Test
  void withoutMixturesAllTasksAreDrawnByTheirSizes() {
    MixtureSpec spec = parse("tasks: {a: {path: a.jsonl}, b: {path: b.jsonl, rows: 7}}");
    assertArrayEquals(new double[] {0.25, 0.75}, rates(spec, 10, 30), 1e-12);
    assertEquals(7, spec.tasks().get("b").rows());
  }

  @Test
  void capComesBeforeTemperature() {
    MixtureSpec spec =
        parse(TASKS + "mixtures: {m: {parts: [a, b, c], cap: 100, temperature: 2, scale: 2}}");
    double[] weights = {10, 10, Math.sqrt(32)};
    double sum = weights[0] + weights[1] + weights[2];
    assertArrayEquals(
        new double[] {10 / sum, 10 / sum, weights[2] / sum}, rates(spec, 5_000, 50, 16), 1e-12);
  }

  @Test
  void mixturesOfMixtures() {
    MixtureSpec spec =
        parse(
            TASKS
                + """
                mixtures:
                  inner: {parts: [a, b], cap: 30}
                  outer: {parts: {inner: 3, c: 1}}
                """);
    assertEquals("outer", spec.root());
    assertArrayEquals(new double[] {0.75 * 0.75, 0.75 * 0.25, 0.25}, rates(spec, 90, 10, 5), 1e-12);
    MixtureSpec equal = parse(TASKS + "mixtures: {m: {parts: [a, b], strategy: equal}}");
    assertArrayEquals(new double[] {0.5, 0.5}, rates(equal, 90, 10), 1e-12);
  }

  @Test
  void aPresetHasItsRatesAndCapsItsParts() throws IOException {
    Files.createDirectory(folder.resolve("niv2"));
    for (String name : List.of("t1", "t2")) {
      Files.writeString(folder.resolve("niv2/" + name + ".jsonl"), "{}");
    }
    MixtureSpec spec =
        parse(
            TASKS
                + "  niv2: {path: '%s/niv2/*.jsonl', each_file: true}\n".formatted(folder)
                + """
                mixtures:
                  flan:
                    preset: flan2022-b
                    parts: {muffin: a, t0_sf: b, cot: c, niv2: niv2}
                """);
    assertEquals(
        List.of("a", "b", "c", "niv2/t1", "niv2/t2"),
        spec.trained().stream().map(TaskSpec::name).toList());
    double sum = 46.0 + 27.9 + 1.8 + 24.2;
    // 6,000 rows are capped at 5,000; 2,500 are not.
    assertArrayEquals(
        new double[] {46 / sum, 27.9 / sum, 1.8 / sum, 24.2 / sum * 2 / 3, 24.2 / sum / 3},
        rates(spec, 1, 2, 3, 6_000, 2_500),
        1e-12);
  }

  /**
   * A preset's cap is of tasks: mixtures between them and the preset count as many rows as theirs.
   */
  @Test
  void aPresetsCapHoldsHoweverDeep() {
    MixtureSpec spec =
        parse(
            """
            tasks: {a: {path: a}, b: {path: b}, c: {path: c}, d: {path: d}, e: {path: e}}
            mixtures:
              inner: {parts: [a, b]}
              alike: {parts: [c, d], strategy: equal}
              ni: {parts: [inner, alike, e]}
              flan: {preset: flan2022-a, partial: true, parts: {niv2: ni}}
            """);
    double sum = 5_000 + 1_000 + 5_000 + 400 + 2_500;
    assertArrayEquals(
        new double[] {5_000 / sum, 1_000 / sum, 2_700 / sum, 2_700 / sum, 2_500 / sum},
        rates(spec, 9_000, 1_000, 7_000, 400, 2_500),
        1e-12);
    MixtureSpec flan =
        parse(
            "tasks: {a: {path: a}, b: {path: b}, c: {path: c}}\n"
                + "mixtures: {g: {parts: [a, b]}, m: {preset: flan2021, parts: [g, c]}}");
    assertArrayEquals(
        new double[] {3 / 7.0, 1 / 7.0, 3 / 7.0}, rates(flan, 9_000, 1_000, 5_000), 1e-12);
  }

  /**
   * The rates of every preset, on tasks beyond its caps, are the published ones divided by their
   * sum.
   */
  @ParameterizedTest
  @CsvSource({
    "flan2022-a, muffin t0_sf cot niv2, 52 15 3 30",
    "flan2022-b, muffin t0_sf cot niv2, 46.0 27.9 1.8 24.2",
    "flan-collection, flan2021 t0 cot niv2 dialog, .4 .32 .05 .2 .03",
    "llama, common_crawl c4 github wikipedia books arxiv stack_exchange, 67 15 4.5 4.5 4.5 2.5 2",
    "glam, filtered_webpages wikipedia conversations forums books news, .42 .06 .28 .02 .2 .02",
  })
  void presetsHaveThePublishedRates(String preset, String names, String rates) {
    List<String> parts = List.of(names.split(" "));
    double[] published = Arrays.stream(rates.split(" ")).mapToDouble(Double::valueOf).toArray();
    double sum = Arrays.stream(published).sum();
    StringBuilder tasks = new StringBuilder("tasks:\n");
    parts.forEach(part -> tasks.append("  own_%1$s: {path: %1$s}\n".formatted(part)));
    String meant = parts.stream().map(p -> p + ": own_" + p).collect(Collectors.joining(", "));
    MixtureSpec spec =
        parse(tasks + "mixtures: {m: {preset: %s, parts: {%s}}}".formatted(preset, meant));
    long[] sizes = new Random().longs(parts.size(), 1, 1_000_000_000).toArray();
    assertArrayEquals(
        Arrays.stream(published).map(rate -> rate / sum).toArray(), rates(spec, sizes), 1e-12);
  }

  /** Names of a group are as short as they can be, and told apart by folders where they must be. */
  @Test
  void filesOfAGroupAreToldApart() throws IOException {
    for (String file : List.of("t1/train.json", "t2/train.jsonl.gz", "t1/test.json")) {
      Files.createDirectories(folder.resolve(file).getParent());
      Files.writeString(folder.resolve(file), "");
    }
    String group = "tasks: {g: {path: '" + folder + "/%s', each_file: true}}";
    MixtureSpec same = parse(group.formatted("*/train.*"));
    assertEquals(List.of("g/t1/train", "g/t2/train"), List.copyOf(same.tasks().keySet()));
    assertEquals(
        List.of("g/t1/train", "g/t2/train"), List.copyOf(same.mixes().get("g").parts().keySet()));
    MixtureSpec other = parse(group.formatted("t1/*"));
    assertEquals(List.of("g/test", "g/train"), List.copyOf(other.tasks().keySet()));
  }

  @Test
  void missingFilesAreNamed() {
    UserError missing =
        assertThrows(
            UserError.class, () -> MixtureFile.read(folder.resolve("no.yaml"), path -> path));
    assertEquals(
        folder.resolve("no.yaml") + ": no such file; it should be a mixture file",
        missing.getMessage());
  }

  @Test
  void presetsSumToAWhole() {
    for (Preset preset : Preset.ALL) {
      double sum = preset.rates().values().stream().mapToDouble(rate -> rate).sum();
      double whole = sum > 2 ? 100 : 1;
      // Proportion B is printed with one digit and sums to 99.9.
      assertTrue(
          preset.rates().isEmpty() || Math.abs(sum - whole) < 0.11 * whole / 100,
          preset.name() + " sums to " + sum);
      assertTrue(preset.rates().keySet().containsAll(preset.caps().keySet()), preset.name());
    }
    MixtureSpec flan = parse(TASKS + "mixtures: {m: {preset: flan2021, parts: [a, b]}}");
    assertArrayEquals(new double[] {0.75, 0.25}, rates(flan, 30_000, 1_000), 1e-12);
  }

  @Test
  void heldOutTasksAreNeverDrawn() {
    MixtureSpec spec = parse("held_out: ['n*']\n" + TASKS.replace("d: {test", "nli: {path"));
    assertEquals(
        "a b c", spec.trained().stream().map(TaskSpec::name).collect(Collectors.joining(" ")));
    refused("held_out: [a]\n" + TASKS + "mixtures: {m: {parts: [a, b]}}", "task 'a' is held out");
    refused(
        "held_out: [b]\n"
            + TASKS
            + "mixtures: {m: {parts: {a: 1, n: 3}}, n: {strategy: equal, parts: [b]}}",
        "every task of 'n' is held out");
    refused("held_out: [x1]\n" + TASKS, "held_out", "unknown task");
    refused("held_out: ['[a']\n" + TASKS, "mix.yaml.held_out: '[a' is not a valid glob: ");
  }

  @Test
  void metricsAreThoseOfEvalAndHaveWhatTheyNeed() {
    MixtureSpec spec = parse("tasks: {b: {path: b.jsonl, metrics: [rouge_l, exact_match]}}");
    assertEquals(
        List.of(TaskMetric.ROUGE_L, TaskMetric.EXACT_MATCH), spec.tasks().get("b").about().metrics());
    refused(
        TASKS.replace("b.jsonl", "b.jsonl, metrics: [acuracy]"),
        "mix.yaml.tasks.b.metrics: unknown metric 'acuracy', did you mean 'accuracy'?");
    refused(
        "tasks: {b: {path: b.jsonl, metrics: accuracy_per_token}}",
        "mix.yaml.tasks.b.metrics: accuracy_per_token ranks answer options, the task has none");
  }

  @Test
  void aGroupOfWhichNothingIsLeftIsNoPart() throws IOException {
    Files.writeString(folder.resolve("t1.jsonl"), "");
    String yaml =
        "held_out: ['g/*']\ntasks: {g: {path: '%s/t*.jsonl', each_file: true}, a: {path: a}}\n"
            + "mixtures: {inner: {parts: [g]}, m: {parts: {a: 1, %s: 3}}}\nmixture: m\n";
    refused(yaml.formatted(folder, "g"), "inner.parts: every task of 'g' is held out, so it is");
    refused(yaml.formatted(folder, "g").replace("'g/*'", "g"), "inner.parts: every task of 'g' is");
    refused(
        yaml.formatted(folder, "inner").replace("inner: {parts: [g]}", "inner: {parts: [g, a]}"),
        "inner.parts: every task of 'g' is held out");
  }

  /** As Super-NaturalInstructions publishes its test split. */
  @Test
  void aListOfAFileIsHeldOut() throws IOException {
    Path list = Files.writeString(folder.resolve("split.txt"), "t2\r\nb\n\nabsent\n");
    for (String name : List.of("t1", "t2", "b")) {
      Files.writeString(folder.resolve(name + ".jsonl"), "");
    }
    String tasks =
        "tasks: {g: {path: '%s/*.jsonl', each_file: true}, b: {path: b}}\nheld_out_file: %s\n";
    MixtureSpec spec = parse(tasks.formatted(folder, list));
    assertEquals(List.of("g/t1"), spec.trained().stream().map(TaskSpec::name).toList());
    Files.writeString(list, "absent\n");
    refused(tasks.formatted(folder, list), "held_out_file: " + list + " names no task that is");
    refused("held_out_file: list\n" + TASKS, "held_out_file: list: no such file");
  }

  @Test
  void refusesWhatItDoesNotKnow() {
    refused("taks: {}", "unknown key 'taks', did you mean 'tasks'?");
    refused("tasks: {a: {pth: x}}", "mix.yaml.tasks.a", "did you mean 'path'?");
    refused(TASKS + "mixtures: {m: {parts: [a, bb]}}", "m.parts", "'bb', did you mean");
    refused(TASKS + "mixtures: {m: {parts: [a, b, a]}}", "m.parts: 'a' twice; give it a rate");
    refused(TASKS + "mixtures: {m: {preset: flan2021, parts: [a, a]}}", "m.parts: 'a' twice");
    refused(
        "tasks: {a: {path: x, format: alpacca}}", "tasks.a.format: got 'alpacca', needs one of");
    refused(
        "tasks: {a: {path: x, format: prompt, fields: {promt: q}}}",
        "mix.yaml.tasks.a.fields: format prompt has no such field: unknown field 'promt', did you");
    refused(
        "tasks: {a: {path: x, format: flan, fields: {question: q}}}",
        "tasks.a.fields: the fields of format flan have fixed names; leave it out");
    refused(TASKS + "mixtures: {m: {preset: flan2022-c, parts: {}}}", "did you mean 'flan2022-");
    refused(
        TASKS + "mixtures: {m: {preset: flan2022-a, parts: {mufin: a}}}", "did you mean 'muffin'?");
    refused(TASKS + "mixtures: {m: {preset: flan2022-a, parts: {cot: a}}}", "partial: true");
    refused("tasks: {a: {path: x, templates: [alpca]}}", "templates[0]", "'alpaca'");
    refused("tasks: {a: {path: x, templates: flan-cot-1}}", "did you mean 'flan-cot-10'?");
    refused("tasks: {a: {path: x, templates: [{prompt: '{q', target: t}]}}", "never closed");
    refused("tasks: {a: {path: x}}\nbad_rows: ignore", "one of stop, skip");
    refused("tasks: [", "mix.yaml:1: not YAML");
    refused("tasks:\n  a: {path: x}\n  a: {path: y}", "mix.yaml:3: not YAML: Duplicate field 'a'");
    for (String number : List.of(".nan", ".inf", "-.inf")) {
      String mix = "mixtures: {m: {parts: [a], cap: %s}}".formatted(number);
      refused(TASKS + mix, "got '" + number + "', needs a finite number");
    }
    refused(TASKS + "mixtures: {m: {parts: {a: NaN}}}", "mixtures.m.parts.a: got ");
    refused("tasks: {a: {format: prompt}}", "a.path: missing");
    refused(TASKS + "mixture: n\nmixtures: {m: {parts: [a]}}", "unknown mixture 'n'");
    refused(
        TASKS + "mixture: a\nmixtures: {m: {parts: [a]}}",
        ".mixture: 'a' is a task; mixtures: {NAME: {parts: [a]}} makes a mixture of it");
  }

  @Test
  void refusesBadRatesAndCaps() {
    for (String bad : List.of("-1", "NaN", "nan", "much")) {
      refused(TASKS + "mixtures: {m: {parts: {a: %s, b: 1}}}".formatted(bad), "m.parts.a: got");
      refused(TASKS + "mixtures: {m: {parts: [a, b], cap: %s}}".formatted(bad), "m.cap: got");
    }
    refused(TASKS + "mixtures: {m: {parts: [a], temperature: 0}}", "temperature: got 0");
    refused(TASKS + "mixtures: {m: {parts: {a: 1}, cap: 5}}", "only the strategy proportional");
    MixtureSpec zero = parse(TASKS + "mixtures: {m: {parts: {a: 0, b: 0}}}");
    UserError all = assertThrows(UserError.class, () -> rates(zero, 3, 4));
    assertEquals("mix.yaml.mixtures.m: every weight is 0, needs one above 0", all.getMessage());
  }

  @Test
  void refusesCyclesAndTasksWithoutTrainingRows() {
    refused(
        TASKS + "mixture: m\nmixtures: {m: {parts: [a, n]}, n: {parts: [m]}}",
        "contains itself: m > n > m");
    refused(TASKS + "mixtures: {m: {parts: [m]}}", "contains itself: m > m");
    refused(TASKS + "mixtures: {m: {parts: [a, d]}}", "'d' has no training split");
    refused("tasks: {e: {test: e.jsonl}}", "mix.yaml.tasks: task 'e' has no training split");
  }

  @Test
  void tasksAreHeldOutByCategory() throws IOException {
    String file = "{\"Contributors\": [{\"a\": [1]}], \"Categories\": %s, \"Instances\": []}";
    Files.writeString(folder.resolve("t1.json"), file.formatted("[\"Question Answering\"]"));
    Files.writeString(folder.resolve("t2.json"), file.formatted("\"Summarization\""));
    Files.writeString(folder.resolve("t3.json"), "[{\"Categories\": [\"Summarization\"]}]");
    String tasks =
        """
        tasks:
          ni: {path: '%s/t*.json', each_file: true}
          own: {path: own.jsonl, categories: [Summarization, Other]}
        """
            .formatted(folder);
    MixtureSpec spec = parse(tasks + "held_out_categories: [summarization]\n");
    assertEquals(List.of("ni/t1", "ni/t3"), spec.trained().stream().map(TaskSpec::name).toList());
    assertTrue(spec.tasks().get("ni/t2").heldOut());
    assertTrue(spec.tasks().get("own").heldOut());
    Path broken = Files.writeString(folder.resolve("t4.json"), "{\"Contributors\": [\n}");
    UserError json =
        assertThrows(
            UserError.class, () -> parse(tasks + "held_out_categories: [Summarization]\n"));
    assertEquals(
        broken + ":2: not valid JSON, in which its categories are looked for", json.getMessage());
    Files.delete(broken);
    refused(
        tasks + "held_out_categories: [Sumarization]\n",
        "mix.yaml.held_out_categories",
        "unknown category 'Sumarization'",
        "Summarization");
  }
}
