package dev.caravan.data.mix;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Malformed rows of every format stop with file, line and field, or are left out and counted. */
class BadRowsTest {
  private static final String PATTERN = "{prompt: '{q}', target: '{a}'}";

  @TempDir Path folder;

  private static List<String> read(MixtureSpec spec, TaskReader reader) {
    List<String> lines = new ArrayList<>();
    TaskSpec task = spec.trained().get(0);
    reader.read(
        task.templates(), (example, file, line) -> lines.add(file.getFileName() + ":" + line));
    return lines;
  }

  private void check(String name, String content, String task, String message, int bad)
      throws IOException {
    Path file = Files.writeString(folder.resolve(name), content);
    MixtureSpec spec =
        MixtureFile.parse(
            "tasks: {t: {path: '%s', %s}}".formatted(file, task), "mix.yaml", path -> path);
    TaskSpec only = spec.trained().get(0);
    UserError stop =
        assertThrows(
            UserError.class, () -> read(spec, new TaskReader(only, MixtureSpec.BadRows.STOP)));
    assertTrue(stop.getMessage().contains(message), stop.getMessage());
    assertEquals(1, stop.getMessage().lines().count(), stop.getMessage());
    TaskReader skip = new TaskReader(only, MixtureSpec.BadRows.SKIP);
    assertEquals(2, read(spec, skip).size());
    assertEquals(bad, skip.skipped());
  }

  /** The second and the fourth row are the bad one. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"prompt\": 1, \"target\": 2} | {\"prompt\": 3 | format: prompt | x.jsonl:2: not valid JSON",
        "{\"prompt\": 1, \"target\": 2} | {\"prompt\": 1} | format: prompt"
            + " | x.jsonl:2: no field 'target'",
        "{\"prompt\": 1, \"target\": 2} | {\"prompt\": [1], \"target\": 2} | format: prompt"
            + " | x.jsonl:2: field 'prompt' is not text but a list",
        "{\"prompt\": 1, \"target\": 2} | {\"prompt\": 1, \"target\": 2, \"target\": 3} | format: prompt"
            + " | x.jsonl:2: not valid JSON (column 38: Duplicate field 'target')",
        "{\"prompt\": 1, \"target\": 2} | [1] | format: prompt | x.jsonl:2: not a JSON object",
        "{\"instruction\": 1, \"output\": 2} | {\"instruction\": 1} | format: alpaca"
            + " | x.jsonl:2: no field 'output'",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}"
            + " | {\"messages\": [{\"role\": \"usher\", \"content\": \"a\"}]} | format: messages"
            + " | x.jsonl:2: message 1: unknown role 'usher'",
        "{\"q\": 1, \"a\": 2} | {\"q\": 1} | `format: record, templates: "
            + PATTERN
            + "` | needs the field 'a'",
        "{\"q\": 1, \"a\": \"no\"} | {\"q\": 1, \"a\": \"may be\"} | `format: record, templates:"
            + " {prompt: '{q}{options}', target: '{a}'}, options: {list: ['no', 'yes'], answer: a}`"
            + " | x.jsonl:2: field 'a' is 'may be'",
      })
  void linesOfJson(String good, String bad, String task, String message) throws IOException {
    check("x.jsonl", String.join("\n", good, bad, good, bad), task, message, 2);
  }

  /** As most programs write lists. */
  @Test
  void rowsInOneLineAreToldApart() throws IOException {
    String good = "{\"prompt\": 1, \"target\": 2}";
    check(
        "x.json",
        "[%s, {\"prompt\": 3}, {\"prompt\": 3}, {\"prompt\": 3}, %s]".formatted(good, good),
        "format: prompt",
        "x.json:1: no field 'target'",
        3);
  }

  /** A malformed first row does not hide the format of the others. */
  @Test
  void theFirstRowMayBeTheBadOne() throws IOException {
    check(
        "x.jsonl",
        "{\"prompt\": 3\n{\"prompt\": 1, \"target\": 2}\n{\"prompt\": 1, \"target\": 2}\n",
        "rows: 9",
        "x.jsonl:1: not valid JSON",
        1);
  }

  @Test
  void tabsAndCommas() throws IOException {
    check(
        "x.tsv",
        "q\ta\tr\nq\ta\nq\ta\tr\nq\ta\tr\tmore\n",
        "format: flan",
        "x.tsv:2: 2 tab-separated fields, expected 3: question, answer, rationale",
        2);
    check(
        "x.csv",
        "prompt,target\nq,a\nq\nq,a\nq,a,more\n",
        "format: prompt",
        "x.csv:3: 1 fields, but the header has 2",
        2);
  }

  @Test
  void instancesOfSuperNaturalInstructions() throws IOException {
    check(
        "x.json",
        """
        {"Definition": ["d"],
         "Instances": [{"input": "i", "output": ["o"]}, {"input": "i"}, {"output": ["o"]},
                       {"input": "i", "output": ["o"]}, {"input": "i", "output": []}]}
        """,
        "format: superni",
        "x.json:1: instance 2: expected {\"input\": text, \"output\":",
        3);
  }

  /** What would be read behind such a fault is no record, or the rest of the file is gone. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "x.json | [{\"prompt\": 1, \"target\": 2}, {\"pro | x.json:1: not valid JSON",
        "x.json | [{\"prompt\": 1, \"target\": 2}, {\"prompt\": nil, \"a\": {\"prompt\": 3, \"target\": 4}}]"
            + " | x.json:1: not valid JSON",
        "x.json | [{\"prompt\": 1, \"prompt\": 2, \"a\": {\"prompt\": 3, \"target\": 4}}]"
            + " | x.json:1: not valid JSON (column 26: Duplicate field 'prompt')",
        "x.csv | `prompt,target;p,t;\"p,t;p,t;p,t` | x.csv:3: a quoted field that never ends",
      })
  void whatCannotBeGotPastStopsEvenThen(String name, String content, String message)
      throws IOException {
    stopsEvenThen(Files.writeString(folder.resolve(name), content.replace(';', '\n')), message);
  }

  @Test
  void aPackedFileThatEndsEarlyStopsEvenThen() throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (OutputStream out = new GZIPOutputStream(packed)) {
      out.write("{\"prompt\": 1, \"target\": 2}\n".repeat(5000).getBytes(StandardCharsets.UTF_8));
    }
    byte[] half = Arrays.copyOf(packed.toByteArray(), packed.size() / 2);
    stopsEvenThen(
        Files.write(folder.resolve("x.jsonl.gz"), half), "cannot be read: Unexpected end of ZLIB");
  }

  private void stopsEvenThen(Path file, String message) {
    MixtureSpec spec =
        MixtureFile.parse(
            "tasks: {t: {path: '%s', format: prompt}}".formatted(file), "mix.yaml", path -> path);
    TaskReader skip = new TaskReader(spec.trained().get(0), MixtureSpec.BadRows.SKIP);
    UserError stop = assertThrows(UserError.class, () -> read(spec, skip));
    assertTrue(stop.getMessage().contains(message), stop.getMessage());
  }
}
